"""Files of published weights, read into NumPy arrays. Nothing in a file is ever run, and no framework is needed.

    .pth, .pt       torch >= 1.6: a zip of data.pkl and data/N (`torch.serialization`); older torch: five pickles, then storages
    .pkl            detectron2: a pickle of {"model": {name: array}}, written by Python 2 or 3
    .safetensors
    .h5             Keras 1 and 2, of `save_weights` or `save`

Pickles are programs for a small stack machine. The one here, `_unpickle`, has only the instructions that build plain containers
and imports nothing; for the few names it knows, functions of this module stand in. Python's own `Unpickler`, however strict its
`find_class`, still obeys the rest: a memo of 2**31 places, keys whose hash takes forever, tuples too deep to be hashed.
"""

from __future__ import annotations

import io
import itertools
import math
import mmap
import pickletools
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import ml_dtypes  # gives NumPy the type "bfloat16"
import numpy as np
from safetensors import safe_open

MAX_BYTES = 2 << 30  # of a file, and of what is read from it: ResNeXt-101 has 107 M weights, with the moments of Adam 1.3 GB
MAX_PICKLE_BYTES = 64 << 20  # of data.pkl, and of the list of entries of a zip; a few 100 kB are usual
MAX_STEPS = 2_000_000  # instructions of a pickle; a state dict of 300 tensors has some 10,000
MAX_RANK = 8
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
    except _FileError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # what a damaged file does to zipfile, h5py, safetensors or NumPy has no one type
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ValueError(f"{path} is damaged or cut off: {reason:.200}. Fetch or save it again.") from error


class _FileError(ValueError):
    """What a file does wrong, as the rest of a sentence that begins with its name, and what to do."""

    def __init__(self, reason: str, advice: str = "Fetch or save it again.") -> None:
        super().__init__(f"{reason}. {advice}")


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
    raise _FileError(f"is not a whole .pth, .pkl, .safetensors or .h5 file of weights; it {begins}")


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
            raise _FileError(f"would fill more than {MAX_BYTES:,} bytes", "Save the weights without the optimiser.")


def _read_zip(path: Path) -> Tensors:
    budget = _Budget()
    with _Pieces(path) as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _FileError(f"is a zip with {len(roots)} data.pkl in it; a .pth of torch has one", "Name another file.")

        def read(name: str) -> bytes:
            entry = entries.get(roots[0] + name)
            if entry is None:
                raise _FileError(f"lacks its part {name!r:.100}")
            if entry.flag_bits & 1:
                raise _FileError("is an encrypted zip", "Decrypt it first.")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise _FileError(
                    f"has its part {name!r:.100} compressed, as torch never does", "Save it again with torch.save."
                )
            budget.take(entry.file_size)
            return archive.read(entry)  # checked against its CRC

        if entries[roots[0] + "data.pkl"].file_size > MAX_PICKLE_BYTES:
            raise _FileError(f"has more than {MAX_PICKLE_BYTES:,} bytes in data.pkl", STATE_DICT)
        top, _ = _unpickle(io.BytesIO(read("data.pkl")))
        order = read("byteorder").decode() if roots[0] + "byteorder" in entries else "little"
        return _collect(top, lambda storage: read(f"data/{storage.key}"), order)


def _read_old(path: Path) -> Tensors:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _magic, _protocol, (system, _), (top, storages), (keys, _) = (_unpickle(data) for _ in range(5))
        order = "little" if system["little_endian"] else "big"
        starts: dict[str, int] = {}
        end = data.tell()
        for key in keys:
            storage = storages[_text(key)]
            starts[key] = end + 8
            size = int.from_bytes(data[end : end + 8], "little" if order == "little" else "big")
            end += 8 + storage.nbytes
            if end > len(data) or size != storage.size:
                raise _FileError(f"is cut off or damaged at storage {key!r:.100} of {storage.nbytes:,} bytes")
        return _collect(top, lambda storage: data[starts[storage.key] : starts[storage.key] + storage.nbytes], order)


def _read_pickle(path: Path) -> Tensors:
    # A length beyond the end of a map gives a short read; of an open file, it would first be allocated.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        top, _ = _unpickle(data)
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
                    raise _FileError(f"does not hold tensor {name!r:.100} as one plain block", "Save it again with Keras.")
                if data.dtype.kind not in "fiub":
                    raise _FileError(f"holds tensor {name!r:.100} of type {data.dtype}; numbers are wanted")
                if data.id.get_storage_size() != data.nbytes:
                    raise _FileError(f"is cut off in tensor {name!r:.100} of shape {data.shape}")
                yield name, data[()]

    with h5py.File(path, "r") as file:
        root = _member(file, "model_weights") if "model_weights" in file else file
        if "layer_names" not in root.attrs:
            raise _FileError("has no 'layer_names'", "Of Keras's .h5 files, those with weights of Keras 1 or 2 are read.")
        return Tensors(_float32(arrays(root)), {})


def _words(group: Any, attribute: str) -> list[str]:
    """Names from an attribute: bytes from h5py 2, text from h5py 3."""
    words = np.asarray(group.attrs[attribute]).ravel().tolist()
    return [_text(word.decode() if isinstance(word, bytes) else word) for word in words]


def _member(group: Any, path: str) -> Any:
    for part in path.split("/"):
        if not isinstance(group, h5py.Group) or type(group.get(part, getlink=True)) is not h5py.HardLink:
            raise _FileError(f"has nothing of its own at {path!r:.100}: it is missing, or a link")
        group = group[part]
    return group


# ------------------------------------------------------------------------------------------------------------------ pickles


@dataclass
class _Dtype:
    dtype: np.dtype | None  # None: not of numbers


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    size: int  # elements

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class _Tensor:
    """One of torch; checked when it is used."""

    storage: Any
    offset: Any  # elements, as are the strides
    shape: Any
    strides: Any
    dtype: Any


@dataclass
class _Array:
    """One of NumPy, which a later instruction fills; checked when it is used."""

    shape: Any = None
    dtype: Any = None
    order: Any = None
    data: Any = None  # bytes; of Python 2, text of one byte a letter


class _Ignored:
    """Stands for what training scripts keep beside the weights and is not plain: read past, never built."""

    def __call__(self, *_: Any) -> _Ignored:
        return self


IGNORED = _Ignored()
IGNORED_NAMES = {
    "argparse.Namespace",  # the arguments, of torchvision's reference scripts
    *("pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    "mmengine.logging.history_buffer.HistoryBuffer",  # the losses, of MMDetection 3
    *("torch.device", "builtins.set", "builtins.frozenset"),
    *("builtins.dict", "builtins.list", "builtins.int", "builtins.float"),  # what a defaultdict makes
}
STORAGES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
DTYPES = {f"torch.{storage}Storage": np.dtype(name) for storage, name in STORAGES.items()}
DTYPES |= {f"torch.{name}": np.dtype(name) for name in (*STORAGES.values(), "uint16", "uint32", "uint64")}
DTYPES["torch.storage.UntypedStorage"] = np.dtype(np.uint8)
CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
STATE_DICT = "Save the model's state_dict() alone, if you trust who made the file."


def _ordered_dict(pairs: Any = None) -> dict[str, Any]:
    """Empty, and filled by later instructions; or, by Python 2, from a list of pairs.

    The list is emptied: used again and again, a short file could fill the memory with its copies.
    """
    result = {key: value for key, value in pairs or () if isinstance(key, str)}
    if pairs:
        pairs.clear()
    return result


def _scalar(dtype: _Dtype, data: Any) -> Any:
    if dtype.dtype is None or len(data) != dtype.dtype.itemsize:
        return IGNORED
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype.dtype).item()


def _attribute(thing: Any, _: str) -> Any:
    if thing is not IGNORED:  # a HistoryBuffer keeps methods of its class
        raise _FileError(_wants("builtins.getattr"), STATE_DICT)
    return IGNORED


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides, storage.dtype)


def _rebuild_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: _Dtype, *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides, dtype.dtype)


# What stands in for the functions and classes that a pickle may name; nothing else on the machine's stack can be called.
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": lambda *_: {},
    "torch.Size": lambda shape: shape,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_v3,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy._core.numeric._frombuffer": lambda data, dtype, shape, order: _Array(shape, dtype, order, data),
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.ndarray": lambda *_: _Array(),
    "numpy.dtype": lambda code, *_: _Dtype(np.dtype(code) if _text(code) in CODES else None),
    "_codecs.encode": lambda text, _: text,  # how protocol 2 writes bytes; they stay text until they are used
    "builtins.bytes": lambda: b"",  # how it writes none
    "builtins.getattr": _attribute,
}
LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "INT", "LONG"),  # the last two by Python 2
    *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}


def _unpickle(file: Any) -> tuple[Any, dict[str, _Storage]]:
    """One pickle of protocol 2 to 5, from where the file stands: the object, and the storages it refers to, by their key.

    Each instruction takes time and memory in proportion to its own bytes, and nothing is hashed but text, so that no short file
    keeps the machine busy. What dictionaries have under other keys than text is dropped; no weights are kept that way.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under each MARK
    memo: dict[int, Any] = {}
    storages: dict[str, _Storage] = {}
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        value: Any = argument
        if step == MAX_STEPS:
            raise _FileError(f"has more than {MAX_STEPS:,} instructions in its pickle", STATE_DICT)
        match opcode.name:
            case name if name in LITERALS:
                stack.append(value)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name]())
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE":
                value, stack = tuple(stack), below.pop()
                stack.append(value)
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple([stack.pop() for _ in range(int(name[-1]))][::-1]))
            case "APPEND":
                value = stack.pop()
                _add(stack[-1], [value])
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _add(stack[-1], [key, value])
            case "APPENDS" | "SETITEMS":
                value, stack = stack, below.pop()
                _add(stack[-1], value)
            case "GLOBAL":
                stack.append(_named(value.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = _text(stack.pop()), _text(stack.pop())
                stack.append(_named(f"{module}.{name}"))
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [stack[-2](*_few(stack[-1]))]
            case "BUILD":
                value = stack.pop()
                _build(stack[-1], value)
            case "BINPERSID":
                kind, dtype, key, _location, size, *view = _few(stack.pop())
                if kind != "storage" or _sizes((size,)) is None or view not in ([], [None]):
                    raise _FileError("refers to something that is not a storage", "Save it again with torch.save.")
                storage = _Storage(_text(key), dtype.dtype, size)
                if storages.setdefault(key, storage) != storage:
                    raise _FileError(f"declares storage {key!r:.100} twice, differently")
                stack.append(storage)
            case "STOP":
                return stack.pop(), storages
            case name:
                raise _FileError(f"uses the pickle instruction {name} ({value!r:.100}), which plain containers do without")
    raise AssertionError("genops ends with STOP or raises")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is a {type(value).__name__}")
    return value


def _few(arguments: Any) -> tuple[Any, ...]:
    """The arguments of a call: a long tuple, used again and again, would be copied each time."""
    if not isinstance(arguments, tuple) or len(arguments) > 10:
        raise TypeError("arguments of a call are no short tuple")
    return arguments


def _wants(name: str) -> str:
    return f"wants to run {name!r:.100} when opened; only tensors and plain containers are read"


def _named(name: str) -> Any:
    """What stands in for a name; those of Python 2 and NumPy 1 are turned into today's."""
    name = name.replace("__builtin__.", "builtins.", 1).replace("numpy.core.", "numpy._core.", 1)
    if name in DTYPES:
        return _Dtype(DTYPES[name])
    if name in IGNORED_NAMES:
        return IGNORED
    if name not in CALLS:
        raise _FileError(_wants(name), STATE_DICT)
    return CALLS[name]


def _add(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str))
    elif isinstance(target, list):
        target.extend(items)
    elif target is not IGNORED:
        raise TypeError(f"items for a {type(target).__name__}")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Array):
        target.shape, target.dtype, is_fortran, target.data = state[-4:]  # before them a version, in all but the oldest files
        target.order = "F" if is_fortran else "C"
    elif isinstance(target, _Dtype):
        target.dtype = target.dtype.newbyteorder(state[1]) if target.dtype is not None else None
    elif target is not IGNORED and not isinstance(target, dict):  # a dict's state is the `_metadata` of torch
        raise TypeError(f"a state for a {type(target).__name__}")


# ------------------------------------------------------------------------------------------------------------------- arrays


def _collect(top: Any, load: Callable[[_Storage], bytes], order: str) -> Tensors:
    """The arrays of the state dict, wherever it lies, and the plain values beside it."""

    def arrays(state: Any) -> dict[str, _Tensor | _Array]:
        return (
            {name: item for name, item in state.items() if isinstance(item, _Tensor | _Array)}
            if isinstance(state, dict)
            else {}
        )

    found = next(filter(None, map(arrays, (*map(top.get, NESTS), top))), None) if isinstance(top, dict) else None
    if found is None:
        raise _FileError("holds no named tensors, at its top or under " + ", ".join(map(repr, NESTS)), "Name another file.")
    load = cache(load)
    tensors = (
        (name, _torch_array(name, item, load, order) if isinstance(item, _Tensor) else _numpy_array(name, item))
        for name, item in found.items()
    )
    return Tensors(_float32(tensors), _meta(top))


def _torch_array(name: str, tensor: _Tensor, load: Callable[[_Storage], bytes], order: str) -> np.ndarray:
    storage = tensor.storage
    shape, strides, offset = _sizes(tensor.shape), _sizes(tensor.strides), _sizes((tensor.offset,))
    if shape is None or strides is None or offset is None or len(shape) != len(strides) or not isinstance(storage, _Storage):
        raise _FileError(f"describes tensor {name!r:.100} as torch does not")
    dtype = tensor.dtype.newbyteorder("<" if order == "little" else ">")
    width = dtype.itemsize
    last = offset[0] + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last + 1) * width > storage.nbytes:
        raise _FileError(f"lets tensor {name!r:.100} of shape {shape} reach beyond its storage of {storage.nbytes:,} bytes")
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    data = load(storage)
    if len(data) != storage.nbytes:
        raise _FileError(f"has {len(data):,} bytes for tensor {name!r:.100} instead of {storage.nbytes:,}")
    return np.ndarray(shape, dtype, data, offset[0] * width, tuple(stride * width for stride in strides))


def _numpy_array(name: str, item: _Array) -> np.ndarray:
    shape = _sizes(item.shape)
    dtype = item.dtype.dtype if isinstance(item.dtype, _Dtype) else None
    if dtype is None:
        raise _FileError(f"holds array {name!r:.100} of Python objects or text; numbers are wanted")
    data = item.data.encode("latin1") if isinstance(item.data, str) else item.data
    if shape is None or not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
        raise _FileError(f"has the wrong number of bytes for array {name!r:.100} of shape {shape}")
    return np.ndarray(shape, dtype, data, order=item.order)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A tuple of what may be sizes; None for anything else."""
    if not isinstance(value, tuple) or len(value) > MAX_RANK:
        return None
    fits = all(type(size) is int and 0 <= size <= MAX_BYTES for size in value)
    return value if fits and math.prod(max(size, 1) for size in value) <= MAX_BYTES else None


def _float32(tensors: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    budget = _Budget()
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors:
        if name in arrays:
            raise _FileError(f"holds two tensors of the name {name!r:.100}")
        is_float = tensor.dtype.kind == "f" or tensor.dtype == ml_dtypes.bfloat16
        if not is_float and tensor.dtype.kind not in "iub":
            raise _FileError(f"holds tensor {name!r:.100} of type {tensor.dtype}; numbers are wanted")
        dtype = np.dtype(np.float32) if is_float else tensor.dtype.newbyteorder("=")
        budget.take(tensor.size * dtype.itemsize)
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which is refused where the tensor is used
            arrays[name] = np.asarray(tensor, dtype, order="C")
    if not arrays:
        raise _FileError("holds no tensors", "Name another file.")
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
