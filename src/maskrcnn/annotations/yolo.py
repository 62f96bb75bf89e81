"""YOLO's segmentation labels: `data.yaml` and one text file an image, `class x1 y1 x2 y2 …` in fractions of its sides.

https://docs.ultralytics.com/datasets/segment. A row is one polygon: several parts of an object are several objects there, and
holes are filled. Roboflow's folders (`train/images`, `train/labels`) and Ultralytics' (`images/train`, `labels/train`) are
read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size, draw_box, draw_polygon
from maskrcnn.annotations.place import SPLITS, Place, ReadOptions, is_image
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, one_ring, placed_images, rows_of
from maskrcnn.atomic import write_text

NAME = "yolo"
TITLE = "YOLO labels (data.yaml, or images/ and labels/ with one .txt an image)"
MAX_YAML_BYTES = 2**20


def recognise(place: Place) -> bool:
    """A `data.yaml` with names, in the folder or named; or `labels/` with text files of numbers."""
    if place.suffix in (".yaml", ".yml"):
        return "names" in (_read_yaml(place.path) or {})
    if not place.is_folder:
        return False
    if any("names" in (_read_yaml(file) or {}) for file in place.files_ending(".yaml", ".yml")):
        return True
    return any(_is_label_file(file) for labels in _label_folders(place) for file in sorted(labels.rglob("*.txt"))[:3])


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of the wanted splits. An image without a label file has no objects, as YOLO's own trainer takes it."""
    file, content = _find_yaml(place)
    names = options.classes if options.classes is not None else _names(content.get("names"), file)
    faults: list[Fault] = []
    entries = []
    for image in _images(place, file, content, options):
        labels = _label_file(image)
        text = labels.read_text("utf-8", errors="replace") if labels is not None else ""
        draw = partial(_draw, text=text, labels=labels, names=names)
        entries.append(Entry(_relative(image, place.folder), Found(image), draw))
    without = sum(_label_file(entry.found.path) is None for entry in entries if entry.found.path)
    if without and without < len(entries):
        message = f"{without} of {len(entries)} images have no file in labels/, so no objects"
        faults.append(Fault("missing label file", message, repaired=True))
    elif without:
        raise ValueError(f"None of {len(entries)} images has a file of its name in a folder labels/ beside its images/.")
    return assemble(entries, options, class_names=names, faults=faults)


def _draw(size: Size, report: Report, *, text: str, labels: Path | None, names: tuple[str, ...] | None) -> Iterator[Drawn]:
    sides = np.array(size[::-1], np.float64)
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            report("broken annotation", f"{labels}, line {number}: wanted are numbers; received {line[:60]!r}")
            continue
        name = _class_name(values[0], names)
        points = np.array(values[1:])
        if name is None:
            report("unknown category", f"{labels}, line {number}: no class has the number {fields[0]}")
            continue
        if len(points) == 4 and np.isfinite(points).all():
            x, y, width, height = points * np.tile(sides, 2)
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            report("missing mask", f"{labels}, line {number}: a box and no outline; its place is ignored in training")
            yield Drawn(name, draw_box(box, size), crowd=True)
        elif len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            message = f"{labels}, line {number}: wanted are pairs of x, y for at least 3 points; received {len(points)} numbers"
            report("broken mask", message)
        elif np.abs(points).max() > 2.0:
            message = f"{labels}, line {number}: coordinates are fractions from 0 to 1; received {np.abs(points).max():g}"
            report("broken mask", message)
        else:
            yield Drawn(name, draw_polygon([points.reshape(-1, 2) * sides], size))


def _class_name(number: float, names: tuple[str, ...] | None) -> str | None:
    if not math.isfinite(number) or number != int(number) or number < 0:
        return None
    if names is None:
        return f"class {int(number)}"
    return names[int(number)] if number < len(names) else None


def _is_label_file(file: Path) -> bool:
    """Whether a text's first rows are a class and fractions; an empty one is, for an image without objects."""
    try:
        rows = [line.split() for line in file.read_text("utf-8").splitlines()[:5] if line.strip()]
        return all(len(row) >= 5 and float(row[0]) == int(float(row[0])) and abs(float(row[1])) <= 2 for row in rows)
    except (OSError, ValueError):
        return False


def _label_folders(place: Place) -> list[Path]:
    folders = [place.subfolder("labels"), *(folder / "labels" for folder in place.subfolders)]
    return [folder for folder in folders if folder is not None and folder.is_dir()]


def _find_yaml(place: Place) -> tuple[Path | None, dict[str, Any]]:
    files = place.files_ending(".yaml", ".yml") if place.is_folder else [place.path]
    for file in files:
        content = _read_yaml(file)
        if content and "names" in content:
            return file, content
    return None, {}


def _read_yaml(file: Path) -> dict[str, Any] | None:
    """A YAML file's mapping; None where it is none."""
    try:
        if file.stat().st_size > MAX_YAML_BYTES:
            return None
        text = file.read_text("utf-8")
        if "&" in text and "*" in text:  # anchors unfold to any length; data.yaml has none
            text = "\n".join(line for line in text.splitlines() if "&" not in line and "*" not in line)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _names(given: Any, file: Path | None) -> tuple[str, ...] | None:
    """The classes by their numbers: a list, or {number: name}; None without a file that names them."""
    if given is None:
        return None
    if isinstance(given, dict) and all(type(key) is int and 0 <= key < 100_000 for key in given):
        return tuple(str(given.get(number, f"class {number}")) for number in range(max(given, default=-1) + 1))
    if isinstance(given, list):
        return tuple(map(str, given))
    raise ValueError(f"{file}: names are a list, or numbers with names; received {str(given)[:60]}.")


def _images(place: Place, file: Path | None, content: dict[str, Any], options: ReadOptions) -> list[Path]:
    """The images of the wanted splits, each once, sorted within their splits."""
    if options.images is not None:
        return _images_in(options.images)
    if file is None:
        folders = [folder.parent / "images" for folder in _label_folders(place)]
        return [image for folder in folders if folder.is_dir() for image in _images_in(folder)]
    wanted = SPLITS if options.split is None else {options.split: SPLITS[options.split]}
    found: dict[Path, None] = {}
    looked = []
    for names in wanted.values():
        for key in names:
            for written in _as_list(content.get(key)):
                images = _split_images(written, file, content)
                looked.append(written)
                found |= dict.fromkeys(images)
    if not found:
        raise ValueError(f"{file} names no image that is there: looked in {', '.join(map(repr, looked)) or 'no split'}.")
    return list(found)


def _split_images(written: str, file: Path, content: dict[str, Any]) -> list[Path]:
    """The images of one split: of a folder, or of a text that lists them; nothing outside of the data's folder.

    `path` in the file is often one of another machine, and Roboflow writes `../train/images` for a folder beside the file.
    """
    root = file.parent
    base = content.get("path")
    inner = Path(*(part for part in Path(written.replace("\\", "/")).parts if part not in ("..", ".", "/")))
    candidates = [root / str(base) / written] if isinstance(base, str) and not Path(base).is_absolute() else []
    candidates += [root / written, root / inner]
    candidates += [root / Path(*inner.parts[k:]) for k in range(1, len(inner.parts))]
    for candidate in candidates:
        if not Path(candidate).resolve().is_relative_to(root.resolve()):
            continue
        if candidate.is_dir():
            return _images_in(candidate)
        if candidate.is_file() and candidate.suffix == ".txt":
            lines = candidate.read_text("utf-8", errors="replace").splitlines()
            listed = [root / line.strip() for line in lines if line.strip()]
            return [image for image in listed if image.is_file() and image.resolve().is_relative_to(root.resolve())]
    return []


def _as_list(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _images_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and is_image(file))


def _label_file(image: Path) -> Path | None:
    """The text of an image: `images` in its path, the last of that name, is `labels`; or beside it."""
    parts = list(image.parts)
    places = [k for k, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    for file in (Path(*parts).with_suffix(".txt"), image.with_suffix(".txt")):
        if file.is_file():
            return file
    return None


def _relative(image: Path, folder: Path) -> str:
    return image.relative_to(folder).as_posix() if image.is_relative_to(folder) else image.name


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `images/train/`, `labels/train/` and `data.yaml`, whose `val` is the same images: YOLO's trainer wants one.

    An object of several parts or with holes is one row, its rings joined by cuts without width, as Ultralytics' own converters
    join parts; the pixels inside are the same.

    Returns:
        What the format cannot say: scores, crowd regions.
    """
    losses = Losses()
    labels = out / "labels" / "train"
    labels.mkdir(parents=True, exist_ok=True)
    for sample, name in placed_images(data, out / "images" / "train", images):
        sides = np.array(sample.size[::-1], np.float64)
        lines = [
            " ".join([str(row.label), *(f"{value:.8f}".rstrip("0").rstrip(".") for value in (ring / sides).ravel())])
            for row in losses.without_scores(rows_of(sample, data))
            for ring in [one_ring(row.polygons())]
        ]
        write_text(labels / f"{Path(name).stem}.txt", "".join(f"{line}\n" for line in lines))
    _write_yaml(out, {"train": "images/train", "val": "images/train"}, data)
    return losses.faults()


def write_parts(out: Path, parts: Mapping[str, Annotated]) -> None:
    """Writes a `data.yaml` above data sets that `write` wrote into folders named train, val and test, for YOLO's trainer."""
    _write_yaml(out, {name: f"{name}/images/train" for name in parts}, next(iter(parts.values())))


def _write_yaml(out: Path, places: Mapping[str, str], data: Annotated) -> None:
    names = {number: category.name for number, category in enumerate(data.categories)}
    content = {"path": ".", **places, "names": names}
    write_text(out / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
