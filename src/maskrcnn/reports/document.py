"""An HTML file that needs nothing else: style, images and a script, where it has one, lie in it, and it asks no server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from maskrcnn.atomic import write_text
from maskrcnn.results.embedding import data_uri

_LONG = 16  # rows from which on a table scrolls


class Section(NamedTuple):
    """A part of the page, with an entry in its list of contents."""

    anchor: str
    heading: str
    html: str


def document(title: str, paragraphs: Sequence[str], sections: Sequence[Section], *, style: str = "", script: str = "") -> str:
    """The whole page; sections without content are left out.

    Args:
        title: its heading.
        paragraphs: below that.
        sections: what it holds.
        style: CSS beyond that of all pages.
        script: an ES module, run when the page is there; what the page says can be read without it.
    """
    sections = [section for section in sections if section.html]
    style = template("report.css") + style
    contents = "".join(f'<li><a href="#{section.anchor}">{escape(section.heading)}</a></li>' for section in sections)
    body = "".join(
        f'<section id="{section.anchor}">\n<h2>{escape(section.heading)}</h2>\n{section.html}</section>\n'
        for section in sections
    )
    lead = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in paragraphs if paragraph)
    run = f'<script type="module">\n{script}</script>\n' if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{lead}</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main>
{body}</main>
{run}</body>
</html>
"""


def template(name: str) -> str:
    """A file that comes with the package for pages."""
    return (files("maskrcnn.reports") / "templates" / name).read_text(encoding="utf-8")


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def tiles(values: Sequence[tuple[str, str]]) -> str:
    """Large numbers, each (number, name)."""
    shown = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in values)
    return f'<div class="tiles">{shown}</div>\n'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, name: str = "Table") -> str:
    """A table whose first column names its rows; where it is wider than the page or long, it scrolls on its own."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>\n"
        for row in rows
    )
    long = " tall" * (len(rows) > _LONG)
    return (
        f'<div class="card{long}" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table>\n<tr>{head}</tr>\n{body}</table></div>\n"
    )


def details(summary: str, html: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>\n{html}</details>\n" if html else ""


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def image_tag(image: np.ndarray | str, description: str) -> str:
    """An (H, W, 3) uint8 RGB image, or one that is a `data:` URI already, inside of the page."""
    if isinstance(image, str):
        return f'<img alt="{escape(description)}" loading="lazy" src="{image}">'
    height, width = image.shape[:2]
    source = data_uri(Image.fromarray(image))
    return f'<img alt="{escape(description)}" width="{width}" height="{height}" loading="lazy" src="{source}">'


def write_page(path: str | os.PathLike[str], page: str) -> Path:
    """Writes a page whole or not at all, into a folder that is made where it is not there; gives the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path
