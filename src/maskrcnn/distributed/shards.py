"""A prediction over many images, cut into shards, each done whole or not at all, by whom and how often does not matter.

In the folder of results:

    manifest.json                what the job is, and when it is done its totals
    list/part-00000000.json      the images of a shard, listed before the first is looked at
    objects/part-00000000.parquet    what was found in them
    images/part-00000000.parquet     the images themselves, written last: when it is there, the shard is done

So a job that was killed goes on where it was: shards that are done are skipped, others begun anew. No image is in two shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from maskrcnn.config.model import Category
from maskrcnn.distributed.listing import Once, list_images
from maskrcnn.distributed.store import Store, is_address, read_bytes
from maskrcnn.images.images import read_planes
from maskrcnn.inference.batches import READERS
from maskrcnn.inference.each import detect_each
from maskrcnn.pipeline import ahead
from maskrcnn.results.parquet import (
    IMAGES,
    MANIFEST,
    OBJECTS,
    ImageRow,
    ObjectRow,
    encode_images,
    encode_objects,
    load_pyarrow,
    object_rows,
    part_name,
)
from maskrcnn.structures import Detector, Plane

T = TypeVar("T")
R = TypeVar("R")
LIST = "list"
VERSION = 1  # of the manifest
SHARD = 256  # images of a shard, where there are many: what a killed worker loses at most
FEWEST = 32  # shards that a small job is cut into, so that several workers have something to do
TOGETHER = 32  # small files that are read or written at once: an object store answers each after tens of milliseconds
LISTED_INPUTS = 20  # that the manifest names


@dataclass(frozen=True)
class ShardSettings:
    """How images are looked at.

    Attributes:
        score: least score of what is written; `"auto"`: of each class the best that the model holds.
        batch_size: images that go through the model together.
        window, axis: see `read_planes`.
        shard_size: images of a shard; None: `SHARD`, fewer in a small job.
    """

    score: float | Literal["auto"] = 0.5
    batch_size: int = 1
    window: tuple[float, float] | int | None = None
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    shard_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "shard_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1; received {value}.")


class ShardDone(NamedTuple):
    """A shard whose results are there."""

    number: int
    num_images: int  # files, however many planes each has
    categories: tuple[Category, ...]  # of the model


class Totals(NamedTuple):
    """What a job came to."""

    images: int  # planes counted one by one
    objects: int
    failed: int  # images that could not be read


class Job:
    """A job in its folder: what there is to do, and what is done.

    Attributes:
        store: the folder.
        settings: how images are looked at.
        manifest: what `manifest.json` holds.
    """

    def __init__(self, store: Store, settings: ShardSettings, manifest: dict[str, Any]) -> None:
        self.store, self.settings, self.manifest = store, settings, manifest

    @classmethod
    def open(
        cls,
        inputs: Sequence[str | Path],
        store: Store,
        settings: ShardSettings,
        *,
        model: tuple[str, str],
        log: Callable[[str], None] = print,
    ) -> Job:
        """The job of these inputs: a new one, or the one that is in the folder already.

        Args:
            inputs: see `list_images`.
            model: its name, and the SHA-256 of its files.
            log: told whether it is new, and how many images were named twice.

        Raises:
            ValueError: the folder holds another job, or something else; nothing to look at.
        """
        load_pyarrow()  # an ImportError before anything is done
        named = [str(each) if is_address(each) else str(Path(each).absolute()) for each in inputs]
        asked = {
            "version": VERSION,
            "model": {"name": model[0], "sha256": model[1]},
            "settings": json.loads(json.dumps(asdict(settings))),
            "inputs": named[:LISTED_INPUTS],
            "inputs_sha256": hashlib.sha256("\0".join(named).encode()).hexdigest(),
        }
        written = store.read(MANIFEST)
        if written is not None and (manifest := _checked(written, asked, store)) is not None:
            log(f"{store.place} holds this job already; it goes on where it was.")
            return cls(store, settings, manifest)
        if written is None and (store.names(IMAGES) or store.names(OBJECTS)):
            raise ValueError(f"{store.place} holds {IMAGES}/ and {OBJECTS}/ of something else; name a new folder.")
        once = Once()

        def listed(number: int, names: list[str]) -> int:
            store.write(_list_name(number), json.dumps(names).encode())
            return len(names)

        shards = enumerate(_cut(list_images(named), settings, once))
        counted = list(_together(lambda shard: listed(*shard), shards))
        num_shards, num_images = len(counted), sum(counted)
        if once.num_repeated:
            log(f"{once.num_repeated} images were named more than once; each is looked at once.")
        counts = {"num_images": num_images, "num_shards": num_shards, "num_repeated": once.num_repeated}
        job = cls(store, settings, asked | counts | {"finished": False})
        job._write()
        return job

    @property
    def num_images(self) -> int:
        return int(self.manifest["num_images"])

    def pending(self) -> list[int]:
        """The numbers of the shards that are to be done."""
        done = self.store.names(IMAGES)
        return [number for number in range(self.manifest["num_shards"]) if part_name(number) not in done]

    def finish(self, categories: Iterable[Category]) -> Totals:
        """Counts what was found, and writes it into the manifest; called when no shard is pending."""
        if not self.manifest["finished"]:
            listed = [{"id": category.id, "name": category.name} for category in categories]
            totals = self._count()
            self.manifest |= {"finished": True, "totals": totals._asdict(), "categories": listed}
            self._write()
        return Totals(**self.manifest["totals"])

    def _count(self) -> Totals:
        parquet, pyarrow = load_pyarrow(), load_pyarrow("pyarrow")

        def of_shard(number: int) -> tuple[int, int, int]:
            content = self.store.read(f"{IMAGES}/{part_name(number)}")
            if content is None:
                raise ValueError(f"{self.store.place}/{IMAGES}/{part_name(number)} is gone; start the command again.")
            table = parquet.read_table(pyarrow.BufferReader(content), columns=["num_objects", "error"])
            errors = table["error"]
            objects = sum(count or 0 for count in table["num_objects"].to_pylist())
            return len(table), objects, len(errors) - errors.null_count

        images = objects = failed = 0
        for own in _together(of_shard, range(self.manifest["num_shards"])):
            images, objects, failed = images + own[0], objects + own[1], failed + own[2]
        return Totals(images, objects, failed)

    def _write(self) -> None:
        self.store.write(MANIFEST, (json.dumps(self.manifest, indent=2, ensure_ascii=False) + "\n").encode())


class ShardWorker:
    """Does shards, one after the other, with a model that is loaded once.

    Args:
        store: the folder of the job.
        settings: how images are looked at.
        model: a `MaskRCNN` or an engine.
        readers: threads that read beside it.
    """

    def __init__(self, store: Store, settings: ShardSettings, model: Detector, *, readers: int = READERS) -> None:
        self._store, self._settings, self._model, self._readers = store, settings, model, readers

    def run(self, number: int) -> ShardDone:
        """Does a shard, unless it is done already.

        Raises:
            ImportError, MemoryError: see `detect_each`.
            ValueError: the shard's list is gone or damaged.
        """
        names = _read_list(self._store, number)
        done = ShardDone(number, len(names), tuple(self._model.config.categories))
        part = part_name(number)
        if self._store.exists(f"{IMAGES}/{part}"):  # by a worker that was ended before it could say so
            return done
        images, objects = self._find(names)
        self._store.write(f"{OBJECTS}/{part}", encode_objects(objects))
        self._store.write(f"{IMAGES}/{part}", encode_images(images))  # from here on the shard is done
        return done

    def _find(self, names: list[str]) -> tuple[list[ImageRow], list[ObjectRow]]:
        ids = [category.id for category in self._model.config.categories]
        rows: list[tuple[ImageRow, list[ObjectRow]]] = []
        settings = self._settings
        for path, plane, found in detect_each(
            self._model, names, self._planes, batch_size=settings.batch_size, score=settings.score, readers=self._readers
        ):
            if isinstance(found, Exception):
                rows.append((ImageRow(path, plane, error=" ".join(str(found).split())), []))
            else:
                row = ImageRow(path, plane, *found.size, len(found))
                rows.append((row, object_rows(path, plane, found, ids)))
        order = {name: place for place, name in enumerate(names)}
        rows.sort(key=lambda row: (order[row[0].image], row[0].plane))
        return [row for row, _ in rows], [each for _, objects in rows for each in objects]

    def _planes(self, path: str) -> Iterator[Plane]:
        image = self._model.config.image
        return read_planes(
            read_bytes(path) if is_address(path) else path,
            window=self._settings.window,
            axis=self._settings.axis,
            channels=image.channels,
            scaling=image.scaling,
        )


def _cut(names: Iterable[str], settings: ShardSettings, once: Once) -> Iterator[list[str]]:
    """The images in shards, each image once."""
    if settings.shard_size is not None:
        yield from once(names, settings.shard_size)
        return
    names = iter(names)
    first = list(islice(names, FEWEST * SHARD))
    is_small = len(first) < FEWEST * SHARD
    size = min(SHARD, max(4 * settings.batch_size, -(-len(first) // FEWEST))) if is_small else SHARD
    yield from once(chain(first, names), size)


def _together(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(work, items)` by `TOGETHER` threads; some items are read ahead, not all."""
    with (
        ThreadPoolExecutor(TOGETHER) as threads,
        closing(ahead((threads.submit(work, item) for item in items), TOGETHER)) as tasks,  # type: ignore[type-var]
    ):
        for task in tasks:
            yield task.result()


def _list_name(number: int) -> str:
    return f"{LIST}/{Path(part_name(number)).stem}.json"


def _read_list(store: Store, number: int) -> list[str]:
    content = store.read(_list_name(number))
    try:
        names = json.loads(content or b"")
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{store.place}/{_list_name(number)} is gone or damaged; begin in a new folder.")
    return names


def _checked(written: bytes, asked: dict[str, Any], store: Store) -> dict[str, Any] | None:
    """The manifest of a job that is the one asked for; None of another one of which nothing is done."""
    try:
        manifest = json.loads(written)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("num_shards"), int) or "finished" not in manifest:
        raise ValueError(f"{store.place}/{MANIFEST} is of no job of maskrcnn predict --ray; name a new folder.")
    for name, what in (
        ("version", "was made by another version"),
        ("model", "is of another model"),
        ("settings", "has other settings"),
        ("inputs_sha256", "is of other inputs"),
    ):
        if manifest.get(name) != asked[name]:
            if not store.names(IMAGES):
                return None
            shown = "inputs" if name == "inputs_sha256" else name
            raise ValueError(f"The job in {store.place} {what}: {manifest.get(shown)}, now {asked[shown]}. Name a new folder.")
    return manifest
