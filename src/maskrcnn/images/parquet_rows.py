"""Images that are rows of a Parquet file, each read when it is asked for."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from maskrcnn import extras

COLUMN = "image"  # bytes of an image's file; or a struct of `bytes` and `path`, as Hugging Face's data sets have it
BYTES = "bytes"
TOGETHER = 4  # rows in memory at a time, so that a small file of large pages does not fill it
MAX_GROUP_BYTES = 1 << 30  # of a column in a row group, when it is not compressed


def load_pyarrow(module: str = "pyarrow.parquet") -> Any:
    """The library, or an ImportError of one line."""
    return extras.load(module, extra="ray", why="Parquet needs pyarrow")


def read_row(file: Path, group: int, row: int, max_bytes: int) -> bytes:
    """The image of a row.

    Args:
        file: Parquet, with `COLUMN`.
        group: the row group, from 0.
        row: in the group, from 0.
        max_bytes: the most that an image has.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: there is no such row, or no image in it.
    """
    parquet = load_pyarrow()
    stat = os.stat(file)
    metadata = _metadata(str(file), stat.st_mtime_ns, stat.st_size)
    if group >= metadata.num_row_groups:
        raise ValueError(f"{file} has {metadata.num_row_groups} row groups; asked for number {group}")
    check_group(metadata.row_group(group))
    with parquet.ParquetFile(file, metadata=metadata) as opened:
        column = image_column(opened.schema_arrow)
        for batch in opened.iter_batches(batch_size=TOGETHER, row_groups=[group], columns=[column]):
            if row < batch.num_rows:
                values = batch.column(0)
                value = (values if column == COLUMN else values.field(BYTES))[row]
                if not value.is_valid or value.as_buffer().size > max_bytes:
                    raise ValueError(
                        "its row holds no image" if not value.is_valid else f"it has more than {max_bytes >> 20} MB"
                    )
                return value.as_buffer().to_pybytes()
            row -= batch.num_rows
    raise ValueError(f"{file} has no such row")


def image_column(schema: Any) -> str:
    """The column of the images' bytes in an Arrow schema, as Parquet names it.

    Raises:
        ValueError: there is none.
    """
    types = load_pyarrow("pyarrow.types")
    kind = schema.field(COLUMN).type if COLUMN in schema.names else None
    if kind is not None and types.is_struct(kind) and any(field.name == BYTES for field in kind):
        kind, column = kind.field(BYTES).type, f"{COLUMN}.{BYTES}"
    else:
        column = COLUMN
    if kind is None or not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise ValueError(f"it has no column {COLUMN} of bytes, or of a struct with {BYTES}")
    return column


def check_group(group: Any) -> None:
    """Refuses a row group that does not fit in memory, by what the file says of it."""
    for number in range(group.num_columns):
        if not 0 <= group.column(number).total_uncompressed_size <= MAX_GROUP_BYTES:
            raise ValueError(f"a row group has more than {MAX_GROUP_BYTES >> 20} MB in a column; write smaller ones")


@lru_cache(maxsize=64)
def _metadata(file: str, changed: int, length: int) -> Any:
    """Of a file as it was at that time; reading it takes longer than a small image."""
    return load_pyarrow().read_metadata(file)
