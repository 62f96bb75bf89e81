"""Images with their objects as rows of Parquet: a file, or a folder of some.

| column | holds |
|---|---|
| `image` | the bytes of the image's file; or a struct of `bytes` and `path`, as Hugging Face's data sets have it |
| `objects` | a list of structs: `class`, `rle` (COCO's compressed run lengths) and, where they are known, `crowd` and `score` |
| `file_name`, `height`, `width` | may be missing |

Each image is read from its row group when it is looked at, so small groups are read fastest. Names are names alone: no path in
a file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.categories import read_categories, write_categories
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.shards import CATEGORIES, encoded_image, write_parts
from maskrcnn.annotations.writing import Annotated, ImagesTo, rows_of
from maskrcnn.geometry.rle import rle_from_json, rle_to_json
from maskrcnn.images.content import member_path
from maskrcnn.images.parquet_rows import check_group, image_column, load_pyarrow

NAME = "parquet-images"
TITLE = "Parquet of images with their objects (columns image and objects)"
GROUP = 16  # images of a row group that is written: what is read for one of them
MAX_NAME = 255  # characters


def recognise(place: Place) -> bool:
    """A Parquet file, or a folder of them, of which the first has both columns."""
    files = _files(place)
    if not files:
        return False
    try:
        schema = load_pyarrow().read_schema(files[0])
        image_column(schema)
    except ImportError:
        return True  # and let `read` say what is missing
    except _errors():
        return False
    return "objects" in schema.names


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every row of every file.

    Raises:
        ImportError: pyarrow is not installed.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    for file in _files(place):
        try:
            for group, row, columns in _rows(file):
                name = _name(columns, f"{file.stem}-{len(entries):08d}")
                last = PurePosixPath(name.replace("\\", "/")).name or "image"
                path = member_path(file, group, row, last)
                entries.append(Entry(name, Found(path), partial(_draw, columns=columns)))
        except _errors() as error:
            faults.append(Fault("broken shard", f"Cannot read {file}: {' '.join(str(error).split()):.200}."))
    return assemble(entries, options, class_names=read_categories(place.folder / CATEGORIES), faults=faults)


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `00000.parquet` and so on, images as their files are, and `categories.json`.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: without the images, which these files are for.
    """
    if images == "none":
        raise ValueError("Parquet of images holds the images themselves; write it with images copy.")
    load_pyarrow()
    write_parts(_written_rows(data), out, ".parquet", _write)
    write_categories(out / CATEGORIES, data.categories)
    return []


def _written_rows(data: Annotated) -> Iterator[tuple[dict[str, Any], int]]:
    """A row a sample, with its image's bytes."""
    for sample in data.samples:
        _, content = encoded_image(sample)
        objects = [
            {"class": row.name, "rle": rle_to_json(row.rle)["counts"], "crowd": row.crowd, "score": row.score}
            for row in rows_of(sample, data)
        ]
        height, width = sample.size
        image = {"bytes": content, "path": sample.file_name}
        written = {"image": image, "file_name": sample.file_name, "height": height, "width": width, "objects": objects}
        yield written, len(content)


def _write(file: BinaryIO, rows: list[dict[str, Any]]) -> None:
    pa = load_pyarrow("pyarrow")
    one = pa.struct([("class", pa.string()), ("rle", pa.string()), ("crowd", pa.bool_()), ("score", pa.float32())])
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            ("image", image),
            ("file_name", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("objects", pa.list_(one)),
        ]
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    # Images are compressed already, and their statistics would be two whole images.
    load_pyarrow().write_table(
        table, file, row_group_size=GROUP, compression="none", use_dictionary=False, write_statistics=False
    )


def _errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises at files that are none, or broken."""
    return (load_pyarrow("pyarrow").ArrowException, OSError, ValueError, KeyError)


def _files(place: Place) -> list[Path]:
    if place.is_folder:
        return list(place.files_ending(".parquet"))
    return [place.path] if place.suffix == ".parquet" else []


def _rows(file: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Row group, row in it, and the columns but for the image's bytes.

    Raises:
        ValueError, OSError: the file is no Parquet, broken, or lacks a column.
    """
    with load_pyarrow().ParquetFile(file) as opened:
        schema = opened.schema_arrow
        nested = image_column(schema) != "image"
        if "objects" not in schema.names:
            raise ValueError("it has no column objects")
        names = [name for name in ("file_name", "height", "width", "objects") if name in schema.names]
        wanted = [*names, "image.path"] if nested and any(each.name == "path" for each in schema.field("image").type) else names
        for group in range(opened.num_row_groups):
            check_group(opened.metadata.row_group(group))
            row = 0
            for batch in opened.iter_batches(batch_size=256, row_groups=[group], columns=wanted):
                for columns in batch.to_pylist():
                    yield group, row, columns
                    row += 1


def _name(columns: dict[str, Any], otherwise: str) -> str:
    given = columns.get("file_name") or (columns.get("image") or {}).get("path")
    return given if isinstance(given, str) and 0 < len(given) <= MAX_NAME else otherwise


def _draw(size: Size, report: Report, *, columns: dict[str, Any]) -> Iterator[Drawn]:
    declared = (columns.get("height", size[0]), columns.get("width", size[1]))
    if declared != size:
        raise ValueError(f"the row says height × width {declared[0]}×{declared[1]}, the image has {size[0]}×{size[1]}")
    objects = columns["objects"]
    for number, each in enumerate(objects if isinstance(objects, list) else [], start=1):
        try:
            if not isinstance(each, dict):
                raise ValueError("it is no struct")
            rle = rle_from_json({"size": list(size), "counts": each.get("rle")}, size)
        except ValueError as error:
            report("broken mask", f"object {number}: {error}")
            continue
        name, score = each.get("class"), each.get("score")
        known = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
        yield Drawn(name if isinstance(name, str) else "", rle, each.get("crowd") is True, known)
