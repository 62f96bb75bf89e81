"""A data set to look at: images with their ground truth drawn over them, to be filtered by class, size and fault."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from maskrcnn.data.dataset import Dataset
from maskrcnn.doctor.findings import LEVELS, Finding
from maskrcnn.doctor.stats import MEDIUM, SMALL
from maskrcnn.geometry.rle import rle_area, rle_region, rle_to_box, rle_to_mask
from maskrcnn.reports.document import Section, document, image_tag, paragraph, template, write_page
from maskrcnn.reports.error_images import Reader, image_link
from maskrcnn.reports.thumbnails import read_or_none
from maskrcnn.results.draw import colour_of, resized
from maskrcnn.structures import Sample

_SIDE = 480  # pixels of an image's longer side on the page
_COLOURS = 24  # of objects, where there is one class
_DECODED = 1 << 24  # pixels of an image whose masks are decoded whole, which is the faster way
_DETAIL = 0.5  # pixels of the page that an outline may be off
_BOUNDS = {"small": (0, SMALL), "medium": (SMALL, MEDIUM + 1), "large": (MEDIUM + 1, np.inf)}  # COCO's, of areas


def write_view_page(
    path: str | os.PathLike[str], dataset: Dataset, findings: Sequence[Finding], *, title: str, read: Reader
) -> Path:
    """Writes the page, one HTML file that opens without a network, whole or not at all. Images are read one by one.

    Args:
        path: the file; its folder is made where it is not there.
        dataset: all of whose images are shown, some 20 to 80 KB each.
        findings: what is wrong with them, see `doctor.checks`.
        title: the page's heading.
        read: gives the image of a sample, (H, W, 3) uint8 RGB.

    Returns:
        The path.
    """
    return write_page(path, view_page(dataset, findings, title=title, read=read))


def view_page(dataset: Dataset, findings: Sequence[Finding], *, title: str, read: Reader) -> str:
    """The page as HTML; see `write_view_page`."""
    by_image: dict[int, list[Finding]] = {}
    for finding in findings:
        for where in finding.where:
            by_image.setdefault(where.place, []).append(finding)
    cards = "".join(
        _card(dataset, place, sample, by_image.get(place, []), read) for place, sample in enumerate(dataset.samples)
    )
    body = _controls(dataset, findings) + f'<div class="cards">{cards}</div>\n' if cards else paragraph("No image.")
    count = sum(len(sample.labels) for sample in dataset.samples)
    apart = "objects" if _is_one_class(dataset) else "classes"
    lead = [f"{len(dataset)} images with {count} objects. Colors tell {apart} apart; crowd regions are dashed."]
    keys = range(_COLOURS if _is_one_class(dataset) else len(dataset.categories))
    colours = "".join(f".c{key} {{ --of: rgb{colour_of(key)}; }}\n" for key in keys)
    style = template("checklist.css") + template("view.css") + colours
    return document(title, lead, [Section("images", "Images", body)], style=style, script=template("view.js"))


def _controls(dataset: Dataset, findings: Sequence[Finding]) -> str:
    """Buttons for classes, sizes and kinds of findings, each with how many objects or images there are of it."""
    labels: Counter[int] = Counter()
    sizes: Counter[str] = Counter()
    for sample in dataset.samples:
        labels.update(sample.labels.tolist())
        sizes.update(_size_of(rle_area(rle)) for rle in sample.rles)
    html = _buttons("class", ((str(label), dataset.categories[label].name, count) for label, count in labels.most_common()))
    html += _buttons("size", ((name, f"{name} objects", sizes[name]) for name in _BOUNDS if sizes[name]))
    kinds = Counter(finding.kind for finding in findings if finding.where)
    levels = {finding.kind: finding.level for finding in findings}
    ordered = sorted(kinds, key=lambda kind: (LEVELS.index(levels[kind]), -kinds[kind]))
    html += _buttons("fault", ((kind, kind, kinds[kind]) for kind in ordered), {kind: levels[kind] for kind in ordered})
    keys = "<kbd>j</kbd> <kbd>k</kbd> next and previous, <kbd>Enter</kbd> large, <kbd>o</kbd> outlines"
    return (
        f'<div class="controls">{html}<label>Name <input type="search" id="name" placeholder="part of a file name"/></label>'
        '<label><input type="checkbox" id="outlines" checked/> outlines</label>'
        f'<span id="progress" role="status"></span><p class="keys">{keys}. Nothing chosen in a row: all is shown.</p></div>\n'
    )


def _buttons(kind: str, entries: Iterator[tuple[str, str, int]], levels: Mapping[str, str] | None = None) -> str:
    buttons = ""
    for value, name, count in entries:
        of = (levels or {}).get(value) or (f"c{value}" if kind == "class" else "")
        buttons += (
            f'<button type="button" class="{of}" data-{kind}="{escape(value, quote=True)}" aria-pressed="false">'
            f"{escape(name)} <b>{count}</b></button>"
        )
    title = {"class": "Classes", "size": "Sizes", "fault": "Faults"}[kind]
    return f'<div class="kinds choice {kind}" role="group" aria-label="{title}">{buttons}</div>' if buttons else ""


def _card(dataset: Dataset, place: int, sample: Sample, findings: Sequence[Finding], read: Reader) -> str:
    height, width = sample.size
    scale = min(1.0, _SIDE / max(height, width))
    image = read_or_none(sample, read)
    shown = image_tag(resized(image, scale), sample.file_name) if image is not None else ""
    faulty = {row for finding in findings for where in finding.where if where.place == place for row in where.objects}
    order = sorted(range(len(sample.labels)), key=lambda row: -rle_area(sample.rles[row]))  # small ones on top
    paths = "".join(_path(dataset, sample, row, scale, row in faulty) for row in order)
    size = f"{max(1, round(width * scale))} {max(1, round(height * scale))}"
    said = "".join(f'<span class="fault">{escape(f"{finding.kind}: {finding.message}")}</span>' for finding in findings[:6])
    said += f'<span class="fault">… and {len(findings) - 6} more</span>' if len(findings) > 6 else ""
    kinds = escape("\n".join(sorted({finding.kind for finding in findings})), quote=True)
    return (
        f'<figure class="shown" tabindex="0" data-name="{escape(sample.file_name.lower(), quote=True)}" data-faults="{kinds}">'
        f'<div class="layers" style="aspect-ratio:{width}/{height}">{shown}<svg viewBox="0 0 {size}" '
        f'preserveAspectRatio="none" role="img" aria-label="ground truth">{paths}</svg></div>'
        f"<figcaption><b>{image_link(sample)}</b><span>{width}×{height}, image {sample.image_id}, "
        f"{len(sample.labels)} objects</span>{said}</figcaption></figure>\n"
    )


def _path(dataset: Dataset, sample: Sample, row: int, scale: float, faulty: bool) -> str:
    label, area, crowd = int(sample.labels[row]), rle_area(sample.rles[row]), bool(sample.crowd[row])
    name = dataset.categories[label].name + " (crowd)" * crowd
    told = escape(f"{name}, {area} pixels, annotation {int(sample.annotation_ids[row])}")
    kind = f"c{row % _COLOURS if _is_one_class(dataset) else label}" + " crowd" * crowd + " odd" * faulty
    return (
        f'<path class="{kind}" data-class="{label}" data-size="{_size_of(area)}" d="{_outline(sample, row, scale)}">'
        f"<title>{told}</title></path>"
    )


def _outline(sample: Sample, row: int, scale: float) -> str:
    """The outlines of a mask and of its holes as an SVG path, in pixels of the page, no more exact than these show."""
    left, top, right, bottom = (int(edge) for edge in rle_to_box(sample.rles[row]))
    if math.prod(sample.size) <= _DECODED:
        cutout = rle_to_mask(sample.rles[row])[top:bottom, left:right]
    else:
        cutout, _ = rle_region(sample.rles[row], (left, top, right, bottom))
    contours, _ = cv2.findContours(cutout.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    path = ""
    for contour in contours:
        points = cv2.approxPolyDP(contour, _DETAIL / scale, closed=True)[:, 0]
        places = np.round((points + np.array([left + 0.5, top + 0.5])) * scale, 1)
        path += "M" + " ".join(f"{x:g},{y:g}" for x, y in places) + "Z"
    return path


def _is_one_class(dataset: Dataset) -> bool:
    return len(dataset.categories) < 2


def _size_of(area: int) -> str:
    return next(name for name, (low, high) in _BOUNDS.items() if low <= area < high)
