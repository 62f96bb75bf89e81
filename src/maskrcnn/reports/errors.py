"""The error report of an evaluation: one HTML file that opens without a network, and `report.json` with all its numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.atomic import write_json, write_text
from maskrcnn.metrics.rows import Evaluation
from maskrcnn.reports import error_images
from maskrcnn.reports.crops import GREEN, ORANGE, WHITE
from maskrcnn.reports.document import Section, details, document, number, paragraph, table, tiles
from maskrcnn.reports.plots import Line, bar_table, confusion_table, unit_chart

PAGE, NUMBERS = "report.html", "report.json"

_KINDS = {
    "class": ("wrong class", "in the right place, but another class"),
    "localisation": ("outline too far off", "right class, mask IoU 0.1 to 0.5"),
    "class_and_localisation": ("both", "wrong class and outline too far off"),
    "duplicate": ("duplicate", "the object was found already, with a higher score"),
    "background": ("background", "nothing annotated there, mask IoU below 0.1"),
    "missed": ("missed", "an object that no result comes near"),
}
_MOST_CLASSES = 30  # with more, the confusion matrix is a list of the commonest pairs alone
_WORST_IMAGES = 12


def write_error_report(
    folder: str | os.PathLike[str],
    evaluation: Evaluation,
    analysis: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    title: str,
    read: error_images.Reader,
) -> Path:
    """Writes `report.html` and `report.json` into a folder, each whole or not at all.

    Args:
        folder: made where it is not there.
        evaluation: results and ground truth.
        analysis: as `metrics.analysis.analyse` gives it.
        scores: as `maskrcnn.evaluate` gives them.
        title: the page's heading.
        read: gives the image of a sample, (H, W, 3) uint8 RGB.

    Returns:
        The page's path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    write_json(folder / NUMBERS, {"title": title, "scores": dict(scores), **analysis})
    write_text(page, error_page(evaluation, analysis, scores, title=title, read=read))
    return page


def error_page(
    evaluation: Evaluation,
    analysis: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    title: str,
    read: error_images.Reader,
) -> str:
    """The page as HTML; see `write_error_report`."""
    thresholds = np.array([analysis["best_scores"][category.name] for category in evaluation.categories])
    wrong = error_images.false_positives(evaluation, analysis["false_positives"], read)
    missed = error_images.missed(evaluation, analysis["missed"], read)
    suspects = error_images.suspected_labels(evaluation.at(thresholds), analysis["suspected_labels"], read)
    bad = [row for row in analysis["images"] if row["cost"] > 0 or row["missed"] + row["false_positives"]]
    images = error_images.worst_images(evaluation, thresholds, bad[:_WORST_IMAGES], read)
    truth, result, other = ("ground truth", GREEN), ("result", ORANGE), ("right", WHITE)
    cost = "What an error costs is what the mean AP50 would gain without it alone; the costliest come first."
    lead = (
        f"{analysis['num_results']} results on {analysis['num_images']} images with {analysis['num_objects']} objects. "
        "Masks are compared; numbers are in report.json beside this page."
    )
    sections = [
        Section("scores", "Scores", _scores(analysis, scores)),
        Section("biology", "Biology's scores", _biology(scores["biology"]) if "biology" in scores else ""),
        Section("errors", "Where AP is lost", _errors(analysis["errors"])),
        Section("thresholds", "Score thresholds", _thresholds(analysis)),
        Section("curves", "Curves", _curves(analysis)),
        Section("confusion", "Confusion of classes", _confusion(analysis["confusion"])),
        Section("groups", "Kinds of objects", _groups(analysis)),
        Section("calibration", "Calibration", _calibration(analysis["calibration"])),
        Section("images", "Worst images", images and paragraph(cost) + error_images.legend(truth, result, other) + images),
        Section("wrong", "False positives", wrong and paragraph(cost) + error_images.legend(truth, result) + wrong),
        Section("missed", "Missed objects", missed and paragraph(cost) + error_images.legend(truth, result) + missed),
        Section("labels", "Suspected labels", suspects and _SUSPECTS + error_images.legend(truth, result) + suspects),
        Section("list", "All images", _list(bad)),
    ]
    return document(title, [lead], sections)


_SUSPECTS = paragraph(
    "Sure results that contradict the ground truth. Where the image agrees with them, mend the annotation: it counts against "
    "every model that is right."
)


def _scores(analysis: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    intervals, mask, box = analysis["intervals"], scores["mask"], scores["box"]
    shown = tiles(
        [
            (number(mask["AP"]), f"mask AP ({_interval(intervals['AP'])})"),
            (number(mask["AP50"]), f"mask AP50 ({_interval(intervals['AP50'])})"),
            (number(analysis["boundary"]["AP"]), "boundary AP"),
            (number(box["AP"]), "box AP"),
        ]
    )
    overall = table(
        ["", *(name.replace("_", " ") for name in mask)],
        [[kind, *(number(value) for value in row.values())] for kind, row in (("mask", mask), ("box", box))],
        name="COCO scores",
    )
    heads = ["class", "objects", "mask AP", "mask AP50", "box AP", "boundary AP", "mean mask IoU", "mean boundary IoU"]
    rows = []
    for name, row in scores["per_class"].items():
        if not row["num_objects"]:
            continue
        edge = analysis["boundary"]["per_class"][name]
        values = (row["mask_AP"], row["mask_AP50"], row["box_AP"], edge["AP"], edge["mask_IoU"], edge["boundary_IoU"])
        rows.append([name, str(row["num_objects"]), *map(number, values)])
    note = (
        f"In brackets the interval that holds {intervals['confidence']:.0%} of {intervals['resamples']} resamples of the "
        f"images. Boundary AP asks for outlines that fit; the mean IoUs are those of the objects found."
    )
    if analysis["boundary"]["images"] < analysis["num_images"]:
        note += f" Boundaries were looked at in {analysis['boundary']['images']} of the images."
    return shown + overall + table(heads, rows, name="Scores by class") + paragraph(note)


def _interval(interval: Mapping[str, float | None]) -> str:
    return "no interval" if interval["low"] is None else f"{number(interval['low'])} to {number(interval['high'])}"


def _biology(scores: Mapping[str, Any]) -> str:
    names = [name for name in ("DSB", "AP50", "AP75", "AJI", "PQ", "SQ", "RQ") if name in scores]
    rows = [["all classes", *(number(scores[name]) for name in names)]]
    rows += [[name, *(number(row.get(column)) for column in names)] for name, row in scores["per_class"].items()]
    text = (
        f"Of detections from score {scores['score_threshold']:.2f} up. DSB: Data Science Bowl, the mean over images; AP50 and "
        f"AP75 are TP / (TP + FP + FN); AJI: aggregated Jaccard index; PQ: panoptic quality."
    )
    return paragraph(text) + table(["", *names], rows, name="Biology's scores")


def _errors(errors: Mapping[str, Any]) -> str:
    rows = [
        (_KINDS[kind][0], error["AP50_lost"], [number(error["AP50_lost"]), str(error["count"]), _KINDS[kind][1]])
        for kind, error in sorted(errors["errors"].items(), key=lambda item: -item[1]["AP50_lost"])
    ]
    largest = max([error["AP50_lost"] for error in errors["errors"].values()], default=0.0)
    text = (
        f"TIDE's kinds of error, and what AP50, now {number(errors['AP50'])}, would gain if all of one kind were mended. All "
        f"false positives together cost {number(errors['AP50_lost_to_false_positives'])}, all missed objects "
        f"{number(errors['AP50_lost_to_missed'])}."
    )
    return paragraph(text) + bar_table(["kind", "AP50 lost", "errors", "what it is"], rows, largest=max(largest, 0.05))


def _thresholds(analysis: Mapping[str, Any]) -> str:
    rows = []
    for name, curve in analysis["score_curves"]["per_class"].items():
        if curve is not None:
            best = curve["best"] or {"score": None, "precision": None, "recall": None, "f1": None}
            rows.append([name, *(number(best[key]) for key in ("score", "f1", "precision", "recall"))])
    text = (
        "The least score of each class that gives the best F1 on this data, at mask IoU 0.5. On the data that it was chosen "
        "on, a threshold flatters the model; choose it on images that are held back for that."
    )
    return paragraph(text) + table(["class", "best score", "F1", "precision", "recall"], rows, name="Best score of each class")


def _curves(analysis: Mapping[str, Any]) -> str:
    curves, recall = analysis["curves"], analysis["curves"]["recall"]
    if curves["all"] is None:
        return ""

    def by_recall(title: str, lines: Mapping[str, Sequence[float]]) -> str:
        drawn = [Line(f"IoU {iou}", recall, lines[iou]) for iou in ("0.50", "0.75", "0.90")]
        return unit_chart(title, drawn, x_label="recall", y_label="precision")

    overall = by_recall("All classes", curves["all"])
    grid, per_class = analysis["score_curves"]["score"], ""
    for name, curve in analysis["score_curves"]["per_class"].items():
        if curve is None:
            continue
        lines = [Line(kind, grid, curve[key]) for kind, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))]
        best = curve["best"]
        marks = [] if best is None else [(best["score"], best["f1"], f"best F1 {best['f1']:.3f} at {best['score']:.3f}")]
        by_score = unit_chart(f"{name}: by score", lines, x_label="score", y_label="value", marks=marks)
        per_class += f'<div class="charts">{by_recall(name, curves["per_class"][name])}{by_score}</div>\n'
    num_classes = sum(curve is not None for curve in curves["per_class"].values())
    shown = per_class if num_classes <= 3 else details("Curves of each class", per_class)
    text = "Precision and recall of masks. The circle marks the score with the best F1."
    all_classes = f'<div class="charts">{overall}</div>\n' if num_classes > 1 else ""  # of one, they are its own
    return paragraph(text) + all_classes + shown


def _confusion(confusion: Mapping[str, Any]) -> str:
    names, matrix = confusion["classes"], confusion["matrix"]
    pairs = [
        (count, names[row], names[column])
        for row in range(len(names))
        for column, count in enumerate(matrix[row][:-1])
        if row != column and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    text = (
        "Rows: what an object is. Columns: what it was found as, at mask IoU 0.5 and from each class's best score up. A cell's "
        "shade is its share of the row."
    )
    commonest = table(
        ["object", "found as", "times"],
        [[name, other, str(count)] for count, name, other in pairs[:20]],
        name="Confused classes",
    )
    matrix_html = paragraph(text) + confusion_table(names, matrix)
    if len(names) > _MOST_CLASSES:
        matrix_html = details(f"The matrix of all {len(names)} classes", matrix_html)
    return matrix_html + (commonest if pairs else "")


def _groups(analysis: Mapping[str, Any]) -> str:
    heads = ["", "AP", "AP50", "recall", "objects"]
    html = paragraph(
        "AP of parts of the objects, as COCO takes it of small, medium and large ones; recall is the mean over mask IoU 0.50 "
        "to 0.95."
    )
    titles = {
        "size": "By size: area in pixels",
        "crowding": "By crowding: box IoU with the nearest other object, 0, up to 0.2, above",
        "border": "By whether the image's border cuts them",
    }
    for kind, title in titles.items():
        rows = [
            (name, row["AP"], [number(row["AP"]), number(row["AP50"]), number(row["recall"]), str(row["objects"])])
            for name, row in analysis["groups"][kind].items()
            if row["objects"]
        ]
        html += f"<h3>{title}</h3>\n" + bar_table(heads, rows)
    return html


def _calibration(calibration: Mapping[str, Any]) -> str:
    bins = calibration["bins"]
    chart = unit_chart(
        "Right results by score",
        [],
        x_label="score",
        y_label="part that is right",
        columns=[(part["from"], part["to"], part["correct"]) for part in bins],
        diagonal=True,
    )
    rows = [
        [f"{part['from']:.1f} to {part['to']:.1f}", str(part["count"]), number(part["score"]), number(part["correct"])]
        for part in bins
    ]
    text = (
        f"Of results with score 0.8, 80 of 100 should be right. The expected calibration error is "
        f"{number(calibration['ECE'])}, the largest {number(calibration['MCE'])}. Columns below the dashed line: the model is "
        f"surer than it should be."
    )
    numbers = table(["score", "results", "mean score", "right"], rows, name="Calibration")
    return paragraph(text) + f'<div class="charts">{chart}<div>{numbers}</div></div>\n'


def _list(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            row["file_name"],
            *(str(row[key]) for key in ("missed", "false_positives", "correct")),
            number(row["f1"]),
            number(row["cost"], 4),
        ]
        for row in rows[:500]
    ]
    if not cells:
        return ""
    heads = ["image", "missed", "false positives", "right", "F1", "cost in AP50"]
    text = "Images with errors, the costliest first" + (f"; 500 of {len(rows)}." if len(rows) > 500 else ".")
    return paragraph(text) + details(f"{len(cells)} images", table(heads, cells, name="Images"))
