"""Files of published weights, read into NumPy arrays. Nothing in a file is ever run, and no framework is needed.

    .pth, .pt       torch >= 1.6: a zip of data.pkl and data/N (`torch.serialization`); older torch: five pickles, then storages
    .pkl            detectron2: a pickle of {"model": {name: array}}, written by Python 2 or 3
    .safetensors
    .h5             Keras 1 and 2, of `save_weights` or `save`

Pickles are read by the machine of `maskrcnn.pickles`.
"""

from __future__ import annotations

import io
import itertools
import mmap
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import h5py
import ml_dtypes
import numpy as np
from safetensors import safe_open

from maskrcnn.pickles import MAX_BYTES, STATE_DICT, Array, FileError, Storage, Tensor, text, unpickle

MAX_PICKLE_BYTES = 64 << 20  # of data.pkl, and of the list of entries of a zip; a few 100 kB are usual
MAX_META = 1000  # plain values beside the tensors
MAX_WORDS = 10_000  # in one of these; LVIS has 1203 categories

OLD_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"  # 0x1950A86A20F9469CFC6C, the first pickle of torch < 1.6
NESTS = ("model", "state_dict", "model_state_dict")


@dataclass(frozen=True, eq=False)
class Tensors:
    """What a file of weights holds.

    Attributes:
        tensors: by the file's own name, less "module." (`DataParallel`); floats of any width as float32, integers as they are;
            they may be read-only. Of a Keras file, "layer/weight": the layer is the group's name ("conv1/kernel", whatever
            scope the weight was made in), and in a group that is a model of its own the weight's last scope
            ("rpn_class_raw/bias", from the group "rpn_model").
        meta: plain values beside the tensors, by path: "meta/CLASSES" (a tuple of words), "meta/mmdet_version", "__author__".
    """

    tensors: dict[str, np.ndarray]
    meta: dict[str, Any]


def read_tensors(path: str | Path) -> Tensors:
    """Reads a file of weights; its kind is told by its first bytes, not by its suffix.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one line that names the file, and the tensor where there is one: of another kind, damaged, cut off, larger
            than `MAX_BYTES`, or wanting more than tensors and plain containers.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No weights file at {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; weights come as one .pth, .pkl, .safetensors or .h5 file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read. Save the weights without the optimiser.")
    try:
        with path.open("rb") as file:
            head = file.read(32)
        return _reader(head)(path)
    except FileError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # what a damaged file does to zipfile, h5py, safetensors or NumPy has no one type
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ValueError(f"{path} is damaged or cut off: {reason:.200}. Fetch or save it again.") from error


def _reader(head: bytes) -> Callable[[Path], Tensors]:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_keras
    if head.startswith(b"PK\x03\x04"):
        return _read_zip
    if head.startswith(b"\x80"):
        return _read_old if OLD_MAGIC in head else _read_pickle
    if head[8:9] == b"{":
        return _read_safetensors
    begins = f"begins with {head[:8]!r}" if head else "is empty"
    raise FileError(f"is not a whole .pth, .pkl, .safetensors or .h5 file of weights; it {begins}")


class _Pieces(io.FileIO):
    """Gives at most `MAX_PICKLE_BYTES` at once: `zipfile` takes the whole list of entries in one read, however long."""

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return super().read(MAX_PICKLE_BYTES if size is None or size < 0 else min(size, MAX_PICKLE_BYTES)) or b""


class _Budget:
    """Counts bytes, so that a file of shared, overlapping or expanded parts cannot fill the memory."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise FileError(f"would fill more than {MAX_BYTES:,} bytes", "Save the weights without the optimiser.")


def _read_zip(path: Path) -> Tensors:
    budget = _Budget()
    with _Pieces(path) as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise FileError(f"is a zip with {len(roots)} data.pkl in it; a .pth of torch has one", "Name another file.")

        def read(name: str) -> bytes:
            entry = entries.get(roots[0] + name)
            if entry is None:
                raise FileError(f"lacks its part {name!r:.100}")
            if entry.flag_bits & 1:
                raise FileError("is an encrypted zip", "Decrypt it first.")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise FileError(f"has its part {name!r:.100} compressed, as torch never does", "Save it again with torch.save.")
            budget.take(entry.file_size)
            return archive.read(entry)  # checked against its CRC

        if entries[roots[0] + "data.pkl"].file_size > MAX_PICKLE_BYTES:
            raise FileError(f"has more than {MAX_PICKLE_BYTES:,} bytes in data.pkl", STATE_DICT)
        top, _ = unpickle(io.BytesIO(read("data.pkl")))
        order = read("byteorder").decode() if roots[0] + "byteorder" in entries else "little"
        return _collect(top, lambda storage: read(f"data/{storage.key}"), order)


def _read_old(path: Path) -> Tensors:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _magic, _protocol, (system, _), (top, storages), (keys, _) = (unpickle(data) for _ in range(5))
        order: Literal["little", "big"] = "little" if system["little_endian"] else "big"
        starts: dict[str, int] = {}
        end = data.tell()
        tensors = _tensors(top)
        for key in keys:
            storage = storages[text(key)]
            starts[key] = end + 8
            size = int.from_bytes(data[end : end + 8], order)
            end += 8 + storage.nbytes
            if end > len(data) or size != storage.size:
                of = [name for name, item in tensors.items() if isinstance(item, Tensor) and item.storage == storage]
                where = f"tensor {of[0]!r:.100}" if of else f"storage {key!r:.100}"
                raise FileError(f"is cut off or damaged at {where} of {storage.nbytes:,} bytes")
        return _collect(top, lambda storage: data[starts[storage.key] : starts[storage.key] + storage.nbytes], order)


def _read_pickle(path: Path) -> Tensors:
    # A length beyond the end of a map gives a short read; of an open file, it would first be allocated.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        top, _ = unpickle(data)
    return _collect(top, lambda storage: b"", "little")  # storages are torch's: a plain pickle has none


def _read_safetensors(path: Path) -> Tensors:
    with safe_open(path, framework="numpy") as file:
        meta = dict(itertools.islice((file.metadata() or {}).items(), MAX_META))
        return Tensors(_float32((name, file.get_tensor(name)) for name in file.keys()), meta)  # noqa: SIM118 (not a mapping)


def _read_keras(path: Path) -> Tensors:
    def arrays(root: Any) -> Iterator[tuple[str, np.ndarray]]:
        for layer in _words(root, "layer_names"):
            group = _member(root, layer)
            weights = _words(group, "weight_names")
            is_model = len({weight.rpartition("/")[0] for weight in weights}) > 1
            for weight in weights:
                scope, _, last = weight.removesuffix(":0").rpartition("/")
                name = f"{scope.rpartition('/')[2] if is_model else layer}/{last}"
                data = _member(group, weight)
                # Keras writes plain blocks. Others could lie in other files, be filtered by plugins, or unfold without end.
                if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external or data.chunks or data.shape is None:
                    raise FileError(f"does not hold tensor {name!r:.100} as one plain block", "Save it again with Keras.")
                if data.dtype.kind not in "fiub":
                    raise FileError(f"holds tensor {name!r:.100} of type {data.dtype}; numbers are wanted")
                if data.id.get_storage_size() != data.nbytes:
                    raise FileError(f"is cut off in tensor {name!r:.100} of shape {data.shape}")
                yield name, data[()]

    with h5py.File(path, "r") as file:
        root = _member(file, "model_weights") if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise FileError("has no 'layer_names'", "Of Keras's .h5 files, those with weights of Keras 1 or 2 are read.")
        return Tensors(_float32(arrays(root)), {})


def _words(group: Any, attribute: str) -> list[str]:
    """Names from an attribute: bytes from h5py 2, text from h5py 3."""
    words = np.asarray(group.attrs[attribute]).ravel().tolist()
    return [text(word.decode() if isinstance(word, bytes) else word) for word in words]


def _member(group: Any, path: str) -> Any:
    for part in path.split("/"):
        if not isinstance(group, h5py.Group) or type(group.get(part, getlink=True)) is not h5py.HardLink:
            raise FileError(f"has nothing of its own at {path!r:.100}: it is missing, or a link")
        group = group[part]
    return group


def _tensors(top: Any) -> dict[str, Tensor | Array]:
    """Those of the state dict, wherever it lies."""

    def arrays(state: Any) -> dict[str, Tensor | Array]:
        items = state.items() if isinstance(state, dict) else ()
        return {name: item for name, item in items if isinstance(item, Tensor | Array)}

    found = next(filter(None, map(arrays, (*map(top.get, NESTS), top))), None) if isinstance(top, dict) else None
    if found is None:
        raise FileError("holds no named tensors, at its top or under " + ", ".join(map(repr, NESTS)), "Name another file.")
    return found


def _collect(top: Any, load: Callable[[Storage], bytes], order: str) -> Tensors:
    """The arrays of the state dict, and the plain values beside it."""
    load = cache(load)

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for name, item in _tensors(top).items():
            try:
                yield name, item.array(name, load, order) if isinstance(item, Tensor) else item.array(name)
            except zipfile.BadZipFile as error:  # a part that is not what its CRC says
                raise FileError(f"is damaged in tensor {name!r:.100}: {error}") from None

    return Tensors(_float32(arrays()), _meta(top))


def _float32(tensors: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    budget = _Budget()
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors:
        if name in arrays:
            raise FileError(f"holds two tensors of the name {name!r:.100}")
        is_float = tensor.dtype.kind == "f" or tensor.dtype == ml_dtypes.bfloat16
        if not is_float and tensor.dtype.kind not in "iub":
            raise FileError(f"holds tensor {name!r:.100} of type {tensor.dtype}; numbers are wanted")
        dtype = np.dtype(np.float32) if is_float else tensor.dtype.newbyteorder("=")
        budget.take(tensor.size * dtype.itemsize)
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which is refused where the tensor is used
            arrays[name] = np.asarray(tensor, dtype, order="C")
    if not arrays:
        raise FileError("holds no tensors", "Name another file.")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _meta(top: dict[str, Any]) -> dict[str, Any]:
    """Plain values at the top, and in "meta" and "meta/dataset_meta" of MMDetection 2 and 3."""
    meta: dict[str, Any] = {}
    level: Any = top
    for prefix, deeper in (("", "meta"), ("meta/", "dataset_meta"), ("meta/dataset_meta/", "")):
        for key, value in itertools.islice(level.items(), MAX_META) if isinstance(level, dict) else ():
            if isinstance(value, list | tuple) and len(value) <= MAX_WORDS and all(isinstance(word, str) for word in value):
                meta[prefix + key] = tuple(value)
            elif isinstance(value, str | int | float):
                meta[prefix + key] = value
        level = level.get(deeper) if isinstance(level, dict) else None
    return meta
