"""A state dict as the file that `torch.load(path, weights_only=True)` reads, written without PyTorch.

The format is that of `torch.save` since version 1.6: a zip, nothing in it compressed, of one pickle (protocol 2) and one file a
tensor. The pickle is spelled out by hand: a dict of calls of `torch._utils._rebuild_tensor_v2`, which is all that it takes.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import (
    BININT,
    BINPERSID,
    BINUNICODE,
    EMPTY_DICT,
    EMPTY_TUPLE,
    GLOBAL,
    MARK,
    NEWFALSE,
    PROTO,
    REDUCE,
    SETITEMS,
    STOP,
    TUPLE,
)

import numpy as np

_STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


def write_pth(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes float32 and int64 arrays by name, all of it or nothing.

    Raises:
        ValueError: for an array of another kind.
    """
    path = Path(path)
    for name, tensor in tensors.items():
        if tensor.dtype not in _STORAGES:
            raise ValueError(f"Tensor {name!r} is {tensor.dtype}; only float32 and int64 are written to .pth.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", _pickle(tensors))
            archive.writestr("archive/byteorder", "little")
            for key, tensor in enumerate(tensors.values()):
                archive.writestr(f"archive/data/{key}", np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())
            archive.writestr("archive/version", "3\n")
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _pickle(tensors: Mapping[str, np.ndarray]) -> bytes:
    items = b"".join(_text(name) + _tensor(key, tensor) for key, (name, tensor) in enumerate(tensors.items()))
    return PROTO + b"\x02" + EMPTY_DICT + MARK + items + SETITEMS + STOP


def _tensor(key: int, tensor: np.ndarray) -> bytes:
    """`_rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks)`."""
    storage = _tuple(
        _text("storage"), _name("torch", _STORAGES[tensor.dtype]), _text(str(key)), _text("cpu"), _number(tensor.size)
    )
    strides: list[int] = []
    stride = 1
    for side in reversed(tensor.shape):
        strides.insert(0, stride)
        stride *= side
    no_hooks = _name("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE
    shape = (_tuple(*map(_number, numbers)) for numbers in (tensor.shape, strides))
    arguments = _tuple(storage + BINPERSID, _number(0), *shape, NEWFALSE, no_hooks)
    return _name("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def _name(module: str, name: str) -> bytes:
    return GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    return BININT + struct.pack("<i", value)


def _tuple(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE
