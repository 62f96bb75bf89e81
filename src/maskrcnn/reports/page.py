"""Pieces of an HTML page: sections, tables, images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

_LONGEST_SIDE = 1000  # of an image in the report, pixels; larger ones are scaled down


def section(heading: str, content: str, *, kind: str = "") -> str:
    return f'<section>\n<h2>{heading}</h2>\n<div class="{kind}">\n{content}</div>\n</section>\n' if content else ""


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def shown_number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def image_pair(truth: np.ndarray, prediction: np.ndarray, caption: str, *, left: str = "truth") -> str:
    return (
        f'<figure class="pair"><div>{_image(truth, f"{caption}: {left}")}{_image(prediction, f"{caption}: prediction")}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def _image(image: np.ndarray, description: str) -> str:
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    thumbnail.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    width, height = thumbnail.size
    return f'<img alt="{escape(description)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'


STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1b2330; --quiet: #667085; --line: #e3e7ee;
  --training: #7a8699; --validation: #1668dc; }
@media (prefers-color-scheme: dark) { :root { --ground: #10141b; --card: #191f29; --ink: #e8ecf2; --quiet: #94a0b4;
  --line: #2b3442; --training: #8793a7; --validation: #5aa2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 20px 60px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 12px; }
h2 { font-size: 19px; margin: 40px 0 14px; }
p { max-width: 68ch; margin: 0 0 10px; color: var(--quiet); }
figure, .tile, .scroll { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; }
@media (max-width: 600px) { .tiles { grid-template-columns: repeat(2, 1fr); } }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.2; letter-spacing: -0.02em; }
.tile span, figcaption { color: var(--quiet); font-size: 14px; }
.scroll { margin-top: 14px; padding: 6px 8px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
td { border-top: 1px solid var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 14px; }
.charts figure { padding: 14px 14px 8px; }
.charts figcaption { display: flex; flex-wrap: wrap; gap: 2px 12px; margin-bottom: 6px; }
.charts b { color: var(--ink); font-weight: 600; margin-right: auto; }
span.training { color: var(--training); } span.validation { color: var(--validation); }
svg { display: block; width: 100%; height: auto; }
.grid line { stroke: var(--line); } .grid text { fill: var(--quiet); font-size: 11px; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
polyline.training { stroke: var(--training); } polyline.validation { stroke: var(--validation); }
circle.training { fill: var(--training); } circle.validation { fill: var(--validation); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 14px; }
.pair { padding: 10px; }
.pair div { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.pair img { display: block; width: 100%; height: auto; border-radius: 6px; }
.pair figcaption { padding: 8px 4px 0; }
"""
