"""What a .pt2 of this package may hold, looked at before PyTorch opens it.

PyTorch's reader obeys more than a model needs: it unpickles tensors and example inputs, loads shared libraries, calls any
function below `torch` that a node names, evaluates formulas and guards as Python, and takes nodes' names into code that it
makes. Here a file holds numbers as they lie in memory and a program in JSON, of a few operators, plain names, and formulas of
whole numbers. Anything else is refused.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from maskrcnn import extras
from maskrcnn.engines.engine import MAX_DESCRIPTION_BYTES

DESCRIPTION = "maskrcnn.json"  # name of the extra file
MAX_BYTES = 64 << 20  # of the program and each list of weights; the largest models' have some 5 MB

DESCRIPTION_RECORD, PROGRAM, EXAMPLES = f"extra/{DESCRIPTION}", "models/model.json", "data/sample_inputs/model.pt"
TENSORS = {"data/weights/model_weights_config.json", "data/constants/model_constants_config.json"}
RECORDS = TENSORS | {
    *(DESCRIPTION_RECORD, PROGRAM, EXAMPLES),
    *("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id"),
}
NUMBERS = re.compile(r"data/(weights/weight|constants/tensor)_\d+")  # as they lie in memory

# The operators of which models are made. What reads files, such as aten.from_file, is none of them.
OPERATORS = (
    "abs add alias amax any arange bitwise_and bitwise_not bitwise_or broadcast_to cat ceil clamp clip clone contiguous "
    "conv2d conv_transpose2d detach div embedding embedding_bag eq exp expand flatten flip floor floor_divide full "
    "full_like ge gelu group_norm gt index_put_ index_select le lift_fresh_copy log log2 logical_and logical_not "
    "logical_or lt matmul max max_pool2d maximum mean meshgrid minimum mul ne neg not_equal numpy_T ones ones_like pad permute "
    "pow ravel reciprocal relu relu6 remainder reshape rsqrt rsub select sigmoid slice softmax sort split sqrt square "
    "squeeze stack sub sum sym_size tile to transpose unbind unsqueeze var view where zeros zeros_like"
)
TARGET = re.compile(
    rf"torch\.ops\.aten\.({OPERATORS.replace(' ', '|')})\.\w+|torch\.ops\.higher_order\.while_loop"
    r"|_operator\.(add|sub|mul|floordiv|mod|neg|getitem)|torch\.sym_(max|min)"
)
NAME = re.compile(r"([A-Za-z_]\w*)?")
PATH = re.compile(r"[\w./]*")  # of a weight
FORMULA = re.compile(
    r"(Symbol\('s\d+', positive=True, integer=True\)|Integer\(-?\d{1,12}\)|(Add|Mul|FloorDiv|Max|Min|Mod|PythonMod)\(|, |\))"
    r"{1,999}"
)
TREE = re.compile(r'(builtins\.(tuple|list|dict)|[\w\[\]{}":, \\])*')  # of inputs and outputs
GUARDS = tuple(f"L['images'].size()[{axis}] % 32 == 0" for axis in (1, 2))  # what a program checks of its inputs
PATTERNS = {
    "target": TARGET,
    "expr_str": FORMULA,
    **dict.fromkeys(("in_spec", "out_spec"), TREE),
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name", "fqn"), PATH),
    "guards_code": re.compile("|".join(map(re.escape, GUARDS))),
    "as_float": re.compile("-?Infinity"),
    "torch_version": re.compile(r"[\w.+]*"),
}


class FileError(ValueError):
    """What a file does wrong, as the rest of a sentence that begins with its name."""


def read_description(path: Path) -> str:
    """What `describe` wrote; empty where there is nothing.

    Raises:
        FileError: it is no archive, or says too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.partition("/")[2] == DESCRIPTION_RECORD]
            if any(entry.file_size > MAX_DESCRIPTION_BYTES for entry in entries):  # unpacked: nothing is refused as yet
                raise FileError(f"describes itself in over {MAX_DESCRIPTION_BYTES:,} bytes, which are not read.")
            return archive.read(entries[0]).decode("utf-8") if len(entries) == 1 else ""
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, zlib.error) as error:
        raise FileError(f"is damaged: {error}") from error


def check(path: Path) -> None:
    """Reads what is no numbers, with PyTorch's own reader of archives, so that nothing else is loaded than was looked at.

    Raises:
        FileError: it holds something that a model of this package does not.
        RuntimeError: of PyTorch, where it is damaged.
    """
    archives = extras.load("torch.export.pt2_archive", extra="torch", why="This model needs a newer PyTorch")
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise FileError("holds compressed entries; models of this package have none.")
    reader = archives.PT2ArchiveReader(str(path))
    size_of = reader.archive_file.get_record_size
    names = reader.get_file_names()
    for name in names:
        if name not in RECORDS and not NUMBERS.fullmatch(name):
            raise FileError(f"holds {name!r:.100}, which may run code or is pickled; models of this package hold neither.")
    if EXAMPLES in names and size_of(EXAMPLES):
        raise FileError("holds pickled example inputs; models of this package have none.")
    for name in (*TENSORS, PROGRAM):
        if size_of(name) > MAX_BYTES:
            raise FileError(f"holds {size_of(name):,} bytes of {name}; at most {MAX_BYTES:,} are read.")
    try:
        for name in TENSORS:
            _check_tensors(json.loads(reader.read_bytes(name)), name.rpartition("/")[0], size_of)
        program = json.loads(reader.read_bytes(PROGRAM))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"is damaged: {type(error).__name__} in its JSON.") from error
    _check_program(program)


def _check_tensors(listed: Any, folder: str, size_of: Any) -> None:
    for name, tensor in listed["config"].items():
        record = f"{folder}/{tensor['path_name']}"
        if tensor["use_pickle"] is not False or not NUMBERS.fullmatch(record) or not PATH.fullmatch(name):
            raise FileError(f"holds tensor {name!r:.100} pickled; models of this package hold none so.")
        shape = [size["as_int"] for size in tensor["tensor_meta"]["sizes"]]
        if math.prod(shape) > size_of(record):  # a number has at least a byte
            raise FileError(f"is damaged: tensor {name!r:.100} of shape {shape} has {size_of(record):,} bytes.")


def _check_program(program: Any) -> None:
    ahead = [("", program)]
    while ahead:
        key, value = ahead.pop()
        if isinstance(value, dict):
            for name in value:
                if not NAME.fullmatch(name):
                    raise FileError(f"names something {name!r:.100}; models of this package have plain names.")
            ahead += value.items()
        elif isinstance(value, list):
            ahead += [(key, item) for item in value]
        elif isinstance(value, str) and not PATTERNS.get(key, NAME).fullmatch(value):
            raise FileError(f"says {value!r:.100} for {key!r:.50}, which no model of this package does.")
