"""The page of the documentation that lists every number of a training run, made from `RunConfig`."""

from __future__ import annotations

import dataclasses
from typing import Any

from maskrcnn.config.run import RunConfig, about

HEAD = """# Training settings

`scripts/reference` makes this page from the fields of `maskrcnn.config.run.RunConfig`; do not edit it by hand. Each setting is
an argument of `maskrcnn.train`, and an option of `maskrcnn train` if one is listed. See [Training](../training.md) for advice.
"""


def reference() -> str:
    """The whole page, in Markdown."""
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(RunConfig):
        groups.setdefault(about(field).group or "General", []).append(_row(field))
    header = "| setting | default | meaning | option | source |\n|---|---|---|---|---|\n"
    return HEAD + "".join(f"\n## {name}\n\n{header}" + "\n".join(rows) + "\n" for name, rows in groups.items())


def _row(field: dataclasses.Field[Any]) -> str:
    text = about(field)
    allowed = " One of: " + ", ".join(text.choices) + "." if text.choices else _range(text.least, text.most)
    option = f"`--{field.name.replace('_', '-')}`" if text.metavar else "`--set`" if field.name == "changes" else ""
    cells = (f"`{field.name}`", _default(field), text.help + allowed, option, text.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default in (None, (), dataclasses.MISSING):
        return ""
    if isinstance(field.default, tuple):
        return ", ".join(f"{value:.3g}" for value in field.default)
    return f"{field.default:g}" if type(field.default) in (int, float) else str(field.default)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" From {least:g} to {most:g}."
    return "" if least is None else f" At least {least:g}."
