"""What a person names as images, many millions perhaps: one after the other, each once, in memory for no longer than needed."""

from __future__ import annotations

import glob
import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from maskrcnn.distributed.store import is_address, open_address
from maskrcnn.images.files import ALL_SUFFIXES, find_images
from maskrcnn.results.parquet import load_pyarrow

LISTS = (".txt", ".parquet")
COLUMNS = ("image", "path", "file_name", "uri", "url")  # of a Parquet list, the first that is there
MAX_LINE = 1 << 16  # characters of a line of a text list


def list_images(inputs: Iterable[str | Path]) -> Iterator[str]:
    """The images that inputs stand for: absolute paths and addresses, in the order of the inputs.

    Args:
        inputs: files; folders and globs, sorted within each; a list, `*.txt` with an image a line or `*.parquet` with a column
            of `COLUMNS`, whose relative paths begin at the list's folder. All of it may lie behind addresses.

    Raises:
        ValueError: nothing there, no images in it, or a list that is none.
    """
    for given in map(str, inputs):
        if given.lower().endswith(LISTS) and not glob.has_magic(given):
            yield from _from_list(given)
        elif is_address(given):
            yield from _behind(given)
        else:
            yield from (str(path.absolute()) for path in find_images([given]))


class Once:
    """Lets each name through once, and remembers 8 bytes of it.

    Those are a hash. That two of 100 million names have the same happens in one job of 3,700, and then one of the two is taken
    for a repetition; of a million names, in one of 37 million.

    Attributes:
        num_repeated: names that had been there.
    """

    def __init__(self) -> None:
        self.num_repeated = 0
        self._known: list[np.ndarray] = []  # sorted, each at least twice as long as the next

    def __call__(self, names: Iterable[str], count: int) -> Iterator[list[str]]:
        """Lists of `count` names, the last perhaps shorter."""
        kept: list[str] = []
        names = iter(names)
        while some := list(islice(names, count)):
            new = self._new(some)
            self.num_repeated += len(some) - len(new)
            kept += new
            while len(kept) >= count:
                yield kept[:count]
                kept = kept[count:]
        if kept:
            yield kept

    def _new(self, names: list[str]) -> list[str]:
        hashes = np.array([int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for name in names], np.uint64)
        own, first = np.unique(hashes, return_index=True)
        is_new = np.ones(len(own), bool)
        for known in self._known:
            place = np.searchsorted(known, own).clip(max=len(known) - 1)
            is_new &= known[place] != own
        self._remember(own[is_new])
        return [names[k] for k in sorted(first[is_new].tolist())]

    def _remember(self, hashes: np.ndarray) -> None:
        while self._known and len(self._known[-1]) < 2 * len(hashes):
            hashes = np.sort(np.concatenate([self._known.pop(), hashes]))
        if len(hashes):
            self._known.append(hashes)


def _behind(address: str) -> Iterator[str]:
    """The images of a file, a folder or a glob behind an address."""
    system, path = open_address(address)
    if glob.has_magic(path):
        found = system.glob(path)
    elif system.isdir(path):
        found = system.ls(path, detail=False)
    elif system.exists(path):
        yield address
        return
    else:
        raise ValueError(f"There is no file or folder {address}.")
    count = 0
    for each in sorted(found):
        if each.lower().endswith(ALL_SUFFIXES):
            count += 1
            yield system.unstrip_protocol(each)
    if not count:
        raise ValueError(f"There are no images in {address}; wanted are files that end with {', '.join(ALL_SUFFIXES)}.")


def _from_list(given: str) -> Iterator[str]:
    if is_address(given):
        system, path = open_address(given)
        if not system.isfile(path):
            raise ValueError(f"There is no file {given}.")
        file, base = system.open(path, "rb"), given.rpartition("/")[0]
    else:
        path = str(Path(given).absolute())
        if not Path(path).is_file():
            raise ValueError(f"There is no file {given}.")
        file, base = open(path, "rb"), str(Path(path).parent)  # noqa: SIM115
    count = 0
    with file:
        for name in _column(file, given) if given.lower().endswith(".parquet") else _lines(file, given):
            count += 1
            yield name if is_address(name) or Path(name).is_absolute() else f"{base}/{name}"
    if not count:
        raise ValueError(f"{given} lists no images.")


def _lines(file: io.BufferedIOBase, given: str) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"{given} is no list of images, one a line: a line is longer than {MAX_LINE:,} bytes.")
        try:
            name = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{given} is no list of images, one a line, in UTF-8.") from None
        if name:
            yield name


def _column(file: io.BufferedIOBase, given: str) -> Iterator[str]:
    parquet, pyarrow = load_pyarrow(), load_pyarrow("pyarrow")
    try:
        with parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            column = next((name for name in COLUMNS if name in names), None)
            if column is None:
                raise ValueError(f"its columns are {', '.join(names[:8])}, none of {', '.join(COLUMNS)}")
            for batch in table.iter_batches(columns=[column]):
                for name in batch.column(0).cast(pyarrow.string()).to_pylist():
                    if name:
                        yield name
    except (pyarrow.ArrowException, ValueError) as error:
        raise ValueError(f"Cannot read the list {given}: {' '.join(str(error).split()):.200}.") from error
