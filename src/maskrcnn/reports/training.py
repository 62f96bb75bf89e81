"""The report of a training, written anew after each epoch: curves, learning rate, images, settings and hints."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from html import escape

from maskrcnn.atomic import write_text
from maskrcnn.reports.charts import chart, loss_charts
from maskrcnn.reports.document import Section, document, image_tag, number, paragraph, table, tiles
from maskrcnn.structures import RunView

_AP = {"val_mask_ap": "mask AP", "val_mask_ap50": "mask AP50", "val_box_ap": "box AP"}


def write_training_report(path: str | os.PathLike[str], view: RunView) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the HTML file.
        view: the training as it stands.
    """
    write_text(path, training_page(view))


def training_page(view: RunView) -> str:
    """The page as HTML."""
    done = len(view.history)
    sections = [
        Section("now", f"After {done} of {view.epochs} epochs", _now(view.history)),
        Section("hints", "Hints", _hints(view.hints)),
        Section("losses", "Losses", _losses(view.history)),
        Section("scores", "Scores and learning rate", _scores(view)),
        Section("predictions", "The same validation images over time", _predictions(view)),
        Section("input", "Augmented input", _input(view.inputs)),
        Section("settings", "Settings", _settings(view.settings)),
    ]
    return document(view.title, view.paragraphs, sections)


def _now(history: Sequence[Mapping[str, float]]) -> str:
    if not history:
        return paragraph("The first epoch is being trained.")
    last = history[-1]
    names = {"loss": "loss", "val_loss": "validation loss", **_AP}
    values = [(number(last[name]), text) for name, text in names.items() if name in last]
    best = max(history, key=lambda row: row.get("val_mask_ap", -math.inf))
    if "val_mask_ap" in best:
        values.append((str(int(best["epoch"]) + 1), f"epoch of the best mask AP, {number(best['val_mask_ap'])}"))
    return tiles(values)


def _hints(hints: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(hint)}</li>\n" for hint in hints)
    return f'<ul class="card hints">\n{items}</ul>\n' if items else ""


def _losses(history: Sequence[Mapping[str, float]]) -> str:
    names = [name for name in _columns(history) if name.endswith("loss")]
    names.sort(key=lambda name: (name.removeprefix("val_") != "loss", name.startswith("rpn_"), name))
    return _charts(_curves(history, names))


def _scores(view: RunView) -> str:
    curves = _curves(view.history, [name for name in _AP if name in _columns(view.history)])
    others = [name for name in _columns(view.history) if not name.endswith("loss") and name not in (*_AP, "epoch")]
    drawn = "".join(chart(_AP[name], {"validation": values}) for name, values in curves.items())
    drawn += "".join(chart(name, lines) for name, lines in loss_charts(_curves(view.history, others)))
    rates = dict(view.rates)
    if rates:
        drawn += chart("learning rate", {"training": [rates.get(epoch, math.nan) for epoch in range(max(rates) + 1)]})
    return f'<div class="charts">{drawn}</div>\n' if drawn else ""


def _charts(curves: Mapping[str, Sequence[float]]) -> str:
    drawn = "".join(chart(name, lines) for name, lines in loss_charts(curves))
    return f'<div class="charts">{drawn}</div>\n' if drawn else ""


def _columns(history: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in history for name in row))


def _curves(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, list[float]]:
    """One value an epoch under each name, NaN where there is none."""
    by_epoch = {int(row["epoch"]): row for row in history}
    count = max(by_epoch, default=-1) + 1
    return {name: [float(by_epoch.get(epoch, {}).get(name, math.nan)) for epoch in range(count)] for name in names}


def _predictions(view: RunView) -> str:
    if not view.truths:
        return ""
    html = paragraph("On the left the ground truth, then what is found with a score of at least 0.5, the newest epoch first.")
    for place, (name, truth) in enumerate(view.truths):
        figures = _look(truth, "ground truth", name)
        for epoch in sorted(view.looks, reverse=True):
            if place < len(view.looks[epoch]):
                figures += _look(view.looks[epoch][place], f"epoch {epoch + 1}", name)
        html += (
            f'<h3>{escape(name)}</h3>\n<div class="card strip" tabindex="0" role="region" aria-label="{escape(name)}">'
            f"{figures}</div>\n"
        )
    return html


def _look(image: str, when: str, name: str) -> str:
    return f"<figure>{image_tag(image, f'{name}: {when}')}<figcaption><b>{escape(when)}</b></figcaption></figure>\n"


def _input(inputs: Sequence[tuple[str, str]]) -> str:
    if not inputs:
        return ""
    figures = "".join(
        f"<figure>{image_tag(image, f'{name}: augmented')}<figcaption>{escape(name)}</figcaption></figure>\n"
        for name, image in inputs
    )
    text = "The first images of the training as the model sees them, with the ground truth that it learns from."
    return paragraph(text) + f'<div class="crops">{figures}</div>\n'


def _settings(settings: Sequence[tuple[str, str, str]]) -> str:
    if not settings:
        return paragraph("All settings have their defaults.")
    return paragraph("What differs from the defaults.") + table(["setting", "value", "default"], settings, name="Settings")
