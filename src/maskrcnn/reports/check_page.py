"""The page of a data set's check: what was found, with images, as a list that a person works through."""

from __future__ import annotations

import hashlib
import os
from html import escape
from pathlib import Path

from maskrcnn.data.imbalance import count_images, count_objects
from maskrcnn.doctor.findings import LEVELS, REPAIRED, Checkup, Finding, Where
from maskrcnn.reports.crops import GREEN, ORANGE
from maskrcnn.reports.document import Section, document, paragraph, table, template, tiles, write_page
from maskrcnn.reports.error_images import Reader, image_link, legend
from maskrcnn.reports.thumbnails import thumbnails

_MOST_SHOWN = 30  # findings of a kind with images
_MOST_REPAIRED = 6  # of those that need nobody
_MOST_LISTED = 300  # of a kind
_MOST_IMAGES = 4  # of a finding
_WHY = {
    "image in both parts": "The validation score counts what was learned by heart.",
    "nearly the same image in both parts": "The validation score counts what was learned by heart.",
    "same image twice": "It counts twice; where its annotations differ, one of them is wrong.",
    "nearly the same images": "Frames of one video, one photo saved twice. They do harm in different parts of the data: "
    "maskrcnn data split keeps them together.",
    "image of one color": "Nothing can be seen in it: an export that failed, or a camera that was covered.",
    "object may be drawn twice": "Two annotators, or polygon and mask of one object. Delete one of the two in your tool.",
    "two classes for one object": "At most one of them is right, unless an object may be both.",
    "object of the whole image": "Often a background that was annotated as an object.",
    "object of hardly a pixel": "Often a click by accident.",
    "class may be wrong": "A confident model says otherwise. Look at each: the model may be wrong too.",
    "object may be missing": "A confident model finds something that nobody annotated; it would be learned as background.",
}


def write_check_page(path: str | os.PathLike[str], checkup: Checkup, *, title: str, read: Reader) -> Path:
    """Writes the page, one HTML file that opens without a network, whole or not at all.

    Args:
        path: the file; its folder is made where it is not there.
        checkup: what was found.
        title: the page's heading.
        read: gives the image of a sample, (H, W, 3) uint8 RGB.

    Returns:
        The path.
    """
    return write_page(path, check_page(checkup, title=title, read=read))


def check_page(checkup: Checkup, *, title: str, read: Reader) -> str:
    """The page as HTML; see `write_check_page`."""
    mended = sum(finding.remedy == REPAIRED for finding in checkup.findings)
    counted = [_count(len(checkup.of_level(level)), level) for level in LEVELS]
    told = f", {mended} of them repaired when the data is read" if mended else ""
    lead = [f"{counted[0]}{told}; {counted[1]}, {counted[2]}. Tick what is done: this browser remembers it."]
    sections = [
        Section("data", "The data", _data(checkup)),
        Section("list", "What was found", _list(checkup, read) or paragraph("Nothing: all checks passed.")),
        Section("classes", "Classes", _classes(checkup)),
    ]
    return document(title, lead, sections, style=template("checklist.css"), script=template("checklist.js"))


def _data(checkup: Checkup) -> str:
    several = len(checkup.parts) > 1
    html = ""
    for part, data in checkup.parts.items():
        values = [
            (f"{len(data):,}", "images"),
            (f"{int(count_objects(data).sum()):,}", "objects"),
            (f"{sum(not len(sample.labels) for sample in data.samples):,}", "images without objects"),
            (f"{len({sample.size for sample in data.samples}):,}", "sizes of images"),
        ]
        html += (f"<h3>{escape(f'{part}: {data.name}')}</h3>\n" if several else "") + tiles(values)
    return html


def _classes(checkup: Checkup) -> str:
    names = list(dict.fromkeys(category.name for data in checkup.parts.values() for category in data.categories))
    heads, columns = ["class"], []
    for part, data in checkup.parts.items():
        heads += [f"{part}: objects", "images"] if len(checkup.parts) > 1 else ["objects", "images"]
        own = [category.name for category in data.categories]
        columns += [dict(zip(own, map(int, counts))) for counts in (count_objects(data), count_images(data))]
    rows = [[name, *(str(column.get(name, 0)) for column in columns)] for name in names]
    rows.sort(key=lambda row: -int(row[1]))
    return table(heads, rows, name="Classes")


def _list(checkup: Checkup, read: Reader) -> str:
    kinds = checkup.kinds()
    if not kinds:
        return ""
    wanted: list[Where] = []
    for found in kinds.values():
        for finding in found[: _most_shown(found)]:
            wanted += finding.where[:_MOST_IMAGES]
    images = iter(thumbnails(checkup.parts, wanted, read))
    buttons, lists = "", ""
    for number, (kind, found) in enumerate(kinds.items()):
        level = found[0].level
        buttons += (
            f'<button type="button" class="{level}" data-kind="{number}" aria-pressed="true">{escape(kind)} '
            f"<b>{len(found)}</b></button>"
        )
        items = ""
        for place, finding in enumerate(found[:_MOST_LISTED]):
            shown = [next(images) for _ in finding.where[:_MOST_IMAGES]] if place < _most_shown(found) else []
            items += _item(checkup, finding, "".join(shown))
        more = len(found) - _MOST_LISTED
        items += f"<li>… and {more} more, which --json lists</li>\n" if more > 0 else ""
        why = f"<p>{escape(_WHY[kind])}</p>\n" if kind in _WHY else ""
        lists += (
            f'<section class="kind" data-kind="{number}">\n<h3><span class="level {level}">{level}</span> {escape(kind)} '
            f'({len(found)})</h3>\n{why}<ol class="findings">\n{items}</ol></section>\n'
        )
    keys = "<kbd>j</kbd> <kbd>k</kbd> next and previous, <kbd>x</kbd> done, <kbd>h</kbd> hide what is done"
    return (
        legend(("in question, or found by the model", ORANGE), ("other annotations", GREEN))
        + f'<div class="controls"><div class="kinds">{buttons}</div>'
        '<label><input type="checkbox" id="hide"/> hide what is done</label> '
        '<button type="button" id="copy">Copy what is left</button> <span id="progress" role="status"></span>'
        f'<p class="keys">{keys}</p></div>\n{lists}'
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _most_shown(found: list[Finding]) -> int:
    return _MOST_REPAIRED if found[0].remedy == REPAIRED else _MOST_SHOWN


def _item(checkup: Checkup, finding: Finding, images: str) -> str:
    places = [checkup.place_of(where) for where in finding.where[:_MOST_IMAGES]]
    several = len(checkup.parts) > 1
    links = ", ".join(
        (f"{place['part']} " if several else "") + image_link(checkup.parts[where.part].samples[where.place])
        for where, place in zip(finding.where, places)
    )
    more = len(finding.where) - len(places)
    links += f" and {more} more" if more > 0 else ""
    ids = [number for place in places for number in place["annotation_ids"]]
    numbers = f" (annotation {', '.join(map(str, ids))})" if ids else ""
    remedy = f'<span class="remedy">--fix: {escape(finding.remedy)}</span>' if finding.remedy else ""
    names = ", ".join(place["file_name"] for place in places)
    text = f"{finding.kind}: {names or 'the data'}: {finding.message}{numbers}"
    key = hashlib.sha256(f"{text} {[place['part'] for place in places]}".encode()).hexdigest()[:16]
    thumbs = f'<div class="thumbs">{images}</div>' if images else ""
    first = escape(f"done: {names or finding.kind}", quote=True)
    return (
        f'<li class="finding" data-key="{key}" data-text="{escape(text, quote=True)}">'
        f'<input type="checkbox" aria-label="{first}"/>{thumbs}'
        f'<div class="said"><b>{links}</b><span>{escape(finding.message + numbers)}</span>{remedy}</div></li>\n'
    )
