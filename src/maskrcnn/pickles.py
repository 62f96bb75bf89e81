"""Pickles of weights, read without running anything in them.

A pickle is a program for a small stack machine. Python's own, `pickle.Unpickler`, obeys more than weights need, however strict
its `find_class`: a memo of 2**31 places for a few bytes, keys whose hash takes forever (a pair of one pair twice, and so on, a
thousand deep), tuples too deep to be hashed. The machine here has only the instructions of plain containers, imports nothing
and hashes or compares nothing that nests; each instruction takes time and memory in proportion to its own bytes.

It knows protocols 2 to 5, as Python 2 and 3 write them; plain values; torch's tensors and storages and NumPy's arrays, as
descriptions that are checked when asked for their array; and, to read past it, what training scripts keep beside the weights.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np

MAX_BYTES = 2 << 30  # of a file, and of what is read from it: ResNeXt-101 has 107 M weights, with the moments of Adam 1.3 GB
MAX_STEPS = 2_000_000  # instructions of a pickle; a state dict of 300 tensors has some 10,000
MAX_RANK = 8

STATE_DICT = "Save the model's state_dict() alone, if you trust who made the file."


class FileError(ValueError):
    """What a file does wrong, as the rest of a sentence that begins with its name, and what to do where it holds weights."""

    def __init__(self, reason: str, advice: str = "Fetch or save it again.") -> None:
        super().__init__(f"{reason}. {advice}")
        self.reason = reason


@dataclass
class _Dtype:
    dtype: np.dtype | None  # None: not of numbers


class Storage(NamedTuple):
    """A block of numbers that lies outside the pickle."""

    key: str
    dtype: np.dtype
    size: int  # elements

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Tensor:
    """One of torch, as the pickle describes it."""

    storage: Any
    offset: Any  # elements, as are the strides
    shape: Any
    strides: Any
    dtype: Any

    def array(self, name: str, load: Callable[[Storage], bytes], order: str) -> np.ndarray:
        """A view of the bytes that `load` gives, in the byte order "little" or "big".

        Raises:
            FileError: about the tensor of this name: it does not fit its storage, or is no tensor.
        """
        storage = self.storage
        shape, strides, offset = _shape(self.shape), _sizes(self.strides), _sizes((self.offset,))
        if shape is None or strides is None or offset is None or len(shape) != len(strides) or not isinstance(storage, Storage):
            raise FileError(f"describes tensor {name!r:.100} as torch does not")
        dtype = self.dtype.newbyteorder("<" if order == "little" else ">")
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        width = dtype.itemsize
        last = offset[0] + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if (last + 1) * width > storage.nbytes:
            raise FileError(f"lets tensor {name!r:.100} of shape {shape} reach beyond its storage of {storage.nbytes:,} bytes")
        data = load(storage)
        if len(data) != storage.nbytes:
            raise FileError(f"has {len(data):,} bytes for tensor {name!r:.100} instead of {storage.nbytes:,}")
        return np.ndarray(shape, dtype, data, offset[0] * width, tuple(stride * width for stride in strides))


@dataclass
class Array:
    """One of NumPy, as the pickle describes it, at once or in a later instruction."""

    shape: Any = None
    dtype: Any = None
    order: Any = None
    data: Any = None  # bytes; of Python 2, text of one byte a letter

    def array(self, name: str) -> np.ndarray:
        """A view of the bytes in the pickle.

        Raises:
            FileError: about the array of this name: it is not of numbers, or its bytes are too many or too few.
        """
        shape = _shape(self.shape)
        dtype = self.dtype.dtype if isinstance(self.dtype, _Dtype) else None
        if dtype is None:
            raise FileError(f"holds array {name!r:.100} of Python objects or text; numbers are wanted")
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        if shape is None or not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
            raise FileError(f"has the wrong number of bytes for array {name!r:.100} of shape {shape}")
        return np.ndarray(shape, dtype, data, order=self.order)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A tuple of what may be sides, strides or an offset, each by itself; None for anything else."""
    if not isinstance(value, tuple) or len(value) > MAX_RANK:
        return None
    return value if all(type(size) is int and 0 <= size <= MAX_BYTES for size in value) else None


def _shape(value: Any) -> tuple[int, ...] | None:
    """A tuple of what may be the sides of an array; None for anything else, and for more elements than a file may have."""
    sides = _sizes(value)
    return sides if sides is not None and math.prod(max(side, 1) for side in sides) <= MAX_BYTES else None


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
        raise _unwanted("builtins.getattr")
    return IGNORED


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, shape, strides, storage.dtype)


# What stands in for the functions and classes that a pickle may name; nothing else on the machine's stack can be called.
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": lambda *_: {},
    "torch.Size": lambda shape: shape,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": lambda *parts: replace(_rebuild(*parts), dtype=parts[6].dtype),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "numpy._core.multiarray._reconstruct": lambda *_: Array(),
    "numpy._core.numeric._frombuffer": lambda data, dtype, shape, order: Array(shape, dtype, order, data),
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.ndarray": lambda *_: Array(),
    "numpy.dtype": lambda code, *_: _Dtype(np.dtype(code) if text(code) in CODES else None),
    "_codecs.encode": lambda text, _: text,  # how protocol 2 writes bytes; they stay text until they are used
    "builtins.bytes": lambda: b"",  # how it writes none
    "builtins.getattr": _attribute,
}


def _named(name: str) -> Any:
    """What stands in for a name; those of Python 2 and NumPy 1 are turned into today's."""
    name = name.replace("__builtin__.", "builtins.", 1).replace("numpy.core.", "numpy._core.", 1)
    if name in DTYPES:
        return _Dtype(DTYPES[name])
    if name in IGNORED_NAMES:
        return IGNORED
    if name not in CALLS:
        raise _unwanted(name)
    return CALLS[name]


def _unwanted(name: str) -> FileError:
    return FileError(f"wants to run {name!r:.100} when opened; only tensors and plain containers are read", STATE_DICT)


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


def unpickle(file: Any) -> tuple[Any, dict[str, Storage]]:
    """One pickle, from where the file stands: the object, and the storages it refers to, by their key.

    What dictionaries have under other keys than text is dropped; no weights are kept that way.

    Args:
        file: a `BytesIO` or `mmap`, which allocate no more than they have, however much is asked for.

    Raises:
        FileError: it wants more than tensors and plain containers, or too much.
        Exception: of any type, where it is damaged.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under each MARK
    memo: dict[int, Any] = {}
    storages: dict[str, Storage] = {}
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        value: Any = argument
        if step == MAX_STEPS:
            raise FileError(f"has more than {MAX_STEPS:,} instructions in its pickle", STATE_DICT)
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
                name, module = text(stack.pop()), text(stack.pop())
                stack.append(_named(f"{module}.{name}"))
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [stack[-2](*_few(stack[-1]))]
            case "BUILD":
                value = stack.pop()
                _build(stack[-1], value)
            case "BINPERSID":
                storage = _storage(*_few(stack.pop()))
                if storages.setdefault(storage.key, storage) != storage:
                    raise FileError(f"declares storage {storage.key!r:.100} twice, differently")
                stack.append(storage)
            case "STOP":
                return stack.pop(), storages
            case name:
                raise FileError(f"uses the pickle instruction {name} ({value!r:.100}), which plain containers do without")
    raise AssertionError("genops ends with STOP or raises")


def text(value: Any) -> str:
    """The value, if it is text: what is hashed, compared or split must be.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"a name is a {type(value).__name__}")
    return value


def _few(arguments: Any) -> tuple[Any, ...]:
    """The arguments of a call: a long tuple, used again and again, would be copied each time."""
    if not isinstance(arguments, tuple) or len(arguments) > 10:
        raise TypeError("arguments of a call are no short tuple")
    return arguments


def _add(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str))
    elif isinstance(target, list):
        target.extend(items)
    elif target is not IGNORED:
        raise TypeError(f"items for a {type(target).__name__}")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, Array):
        target.shape, target.dtype, is_fortran, target.data = state[-4:]  # before them a version, in all but the oldest files
        target.order = "F" if is_fortran else "C"
    elif isinstance(target, _Dtype):
        target.dtype = target.dtype.newbyteorder(state[1]) if target.dtype is not None else None
    elif target is not IGNORED and not isinstance(target, dict):  # a dict's state is the `_metadata` of torch
        raise TypeError(f"a state for a {type(target).__name__}")


def _storage(kind: Any, dtype: Any, key: Any, _location: Any, size: Any, *view: Any) -> Storage:
    # Any other thing with a `dtype`, such as an `Array`, could nest there, and storages are compared.
    is_storage = kind == "storage" and isinstance(dtype, _Dtype) and dtype.dtype is not None
    if not is_storage or _sizes((size,)) is None or view not in ((), (None,)):
        raise FileError("refers to something that is not a storage", "Save it again with torch.save.")
    return Storage(text(key), dtype.dtype, size)
