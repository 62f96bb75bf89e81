"""Predict over more images than one process gets through: in processes of Ray, into Parquet, going on after an interruption."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn import backend, engines
from maskrcnn.config.model import Category
from maskrcnn.distributed.ray import LOCAL, Left, PackedModel, Workers, connected, pack, run_shards
from maskrcnn.distributed.shards import Job, ShardSettings, Totals
from maskrcnn.distributed.store import Store
from maskrcnn.interrupts import signals_as_errors
from maskrcnn.locks import owned
from maskrcnn.structures import Detector
from maskrcnn.verbs.predict import open_model
from maskrcnn.verbs.predict_folder import Watcher
from maskrcnn.weights.finding import model_file, published_model
from maskrcnn.weights.published import PUBLISHED


class Many(NamedTuple):
    """What came of a prediction over many images.

    Attributes:
        place: folder of the results, absolute, or its address.
        totals: of the whole job; None where a part of it was left.
        left: shards whose workers' processes ended each time.
    """

    place: str
    totals: Totals | None
    left: tuple[Left, ...] = ()


def predict_many(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path = "nuclei",
    address: str = LOCAL,
    workers: Workers | None = None,
    watcher: Watcher | None = None,
    log: Callable[[str], None] = print,
    **settings: Any,
) -> Many:
    """Finds the objects of many images, in several processes or on several machines; see docs/scale.md.

    Called again with the same arguments it goes on where it was: images that are done are not looked at again.

    Example:
        predict_many(["s3://bucket/images/**"], "s3://bucket/found", model="runs/first", address="auto", score=0.7)

    Args:
        inputs: files, folders, globs and lists of images, here or behind addresses; see `list_images`.
        out: a folder, or its address, that every machine reaches.
        model: a run's folder, a file of a model, an exported one too, or a name.
        address: `"local"` starts Ray on this machine; others are those of a cluster, see `connected`.
        workers: processes and what each has.
        watcher: shows how far it is.
        log: told what a person should know.
        **settings: fields of `ShardSettings`.

    Raises:
        ValueError: nothing to look at; a folder of another job; no room for a worker.
        FileNotFoundError: no such model.
        ImportError: Ray, pyarrow or what reads an address is not installed.
        ConnectionError: no cluster at the address.
        FolderInUseError: another process writes into the folder.
        KeyboardInterrupt: it was stopped; its note says what to do.
    """
    chosen, store, packed = ShardSettings(**settings), Store(out), _packed(model)
    left, categories = list[Left](), tuple[Category, ...]()
    with ExitStack() as stack:
        if store.folder is not None:
            stack.enter_context(owned(store.folder, "a prediction", log))
            for part in store.folder.glob("*/.*.part"):  # of workers that were killed
                part.unlink(missing_ok=True)
        job = Job.open(inputs, store, chosen, model=(packed.name, packed.digest), log=log)
        pending = job.pending()
        if not pending:
            return Many(store.place, job.finish(categories))
        if watcher is not None:
            shards = f"{job.manifest['num_shards']} shards, {len(pending)} of them to do"
            watcher.begin(len(pending), f"{job.num_images} images in {shards}")
        try:
            ray = stack.enter_context(connected(address, model_bytes=sum(map(len, packed.files.values()))))
            stack.enter_context(signals_as_errors())  # Ray has put handlers of its own, which abort, in their place
            for done in run_shards(ray, pending, job=job, model=packed, load=_load, workers=workers):
                if isinstance(done, Left):
                    left.append(done)
                else:
                    categories = done.categories
                if watcher is not None:
                    watcher.advance()
        except KeyboardInterrupt as stop:
            stop.add_note(f"Stopped; the same command goes on where it was. What is done is whole in {store.place}.")
            raise
        return Many(store.place, None if left else job.finish(categories), tuple(left))


def _packed(model: str | Path) -> PackedModel:
    """The model's files as a worker loads them; those of other projects converted, which a file alone does not say how."""
    if engines.recognise(model) is not None:
        return pack(Path(model))
    published = published_model(model)
    if published is None:
        return pack(model_file(model))
    from maskrcnn.api import load_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{published}.keras"
        load_model(published).save(path)
        return pack(path)._replace(digest=PUBLISHED[published].digest)  # that of the file made of it is another each time


def _load(path: Path) -> Detector:
    """In a worker's process."""
    backend.require()
    backend.keep_compiled_programs()
    return open_model(path)
