"""Scores and statistics as tables on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from maskrcnn.doctor.findings import Checkup
from maskrcnn.doctor.stats import PERCENTILES, DataStats


def print_track_scores(scores: Mapping[str, Any], console: Console) -> None:
    """Prints `evaluate_tracks`'s scores: all videos together, and a row for each where there are several."""
    rows = {"all": scores} | scores.get("per_video", {})
    names = [name for name in ("HOTA", "DetA", "AssA", "MOTA", "sMOTSA", "IDF1") if name in scores]
    counts = ("switches", "missed", "wrong", "objects", "tracks", "tracks_found")
    table = Table("", *names, title=f"Tracks, compared by their {scores['compared']}", title_justify="left")
    numbers = Table("", *(name.replace("_", " ") for name in counts), title="Counts", title_justify="left")
    for video, row in rows.items():
        table.add_row(video, *(_number(row[name]) for name in names))
        numbers.add_row(video, *(str(row[name]) for name in counts))
    console.print(table)
    console.print(numbers)
    if "note" in scores:
        console.print(scores["note"])


def print_scores(scores: Mapping[str, Any], console: Console) -> None:
    """Prints `evaluate`'s scores as tables: overall, a row for each class, and biology's where there are any."""
    overall = _overall_table("COCO scores", scores)
    classes = Table(title="Classes", title_justify="left")
    classes.add_column("class", overflow="fold")
    for heading in ("objects", "mask AP", "mask AP50", "box AP", "box AP50"):
        classes.add_column(heading, justify="right")
    for name, row in scores["per_class"].items():
        numbers = (row[column] for column in ("mask_AP", "mask_AP50", "box_AP", "box_AP50"))
        classes.add_row(name, str(row["num_objects"]), *map(_number, numbers))
    console.print(overall)
    if "keypoints" in scores:
        keypoints = Table("", "keypoints", title="COCO scores of keypoints (OKS)", title_justify="left")
        for name, value in scores["keypoints"].items():
            keypoints.add_row(name.replace("_", " "), _number(value))
        console.print(keypoints)
    if scores["max_detections"][-1] != 100:
        console.print(f"AP looks at {scores['max_detections'][-1]} detections of an image and class; COCO's standard is 100.")
    console.print(classes)
    if "lvis" in scores:
        console.print(_overall_table("LVIS scores", scores["lvis"]))
    if "biology" in scores:
        _print_biology(scores["biology"], console)


def _overall_table(title: str, scores: Mapping[str, Any]) -> Table:
    """The scores of masks and of boxes side by side."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("mask", justify="right")
    table.add_column("box", justify="right")
    for name, value in scores["mask"].items():
        table.add_row(name.replace("_", " "), _number(value), _number(scores["box"][name]))
    return table


def print_comparison(comparison: Mapping[str, Any], names: tuple[str, str], console: Console) -> None:
    """Prints what `maskrcnn.compare` says: the difference, how sure it is, and the classes that changed most."""
    difference = comparison["difference"]
    table = Table("", *names, "difference", f"{difference['confidence']:.0%} interval", "", title="Masks", title_justify="left")
    for name in ("AP", "AP50", "AP75"):
        row = difference[name]
        interval = f"{signed(row['low'])} to {signed(row['high'])}"
        numbers = (_number(comparison[side][name]) for side in ("first", "second"))
        table.add_row(name, *numbers, signed(row["value"]), interval, verdict(row))
    console.print(table)
    changed = [(name, row) for name, row in comparison["per_class"].items() if row["difference"]]
    if changed:
        classes = Table("class", *names, "difference", title="Mask AP of the classes that changed most", title_justify="left")
        for name, row in sorted(changed, key=lambda item: -abs(item[1]["difference"]))[:10]:
            classes.add_row(name, _number(row["first"]), _number(row["second"]), signed(row["difference"]))
        console.print(classes)


def verdict(interval: Mapping[str, float | None]) -> str:
    """What an interval of a difference says."""
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        return "nothing to compare"
    return "better" if low > 0 else "worse" if high < 0 else "not clearly different"


def signed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"


def _print_biology(scores: Mapping[str, Any], console: Console) -> None:
    title = f"Biology's scores of detections from {scores['score_threshold']:.2f} up"
    overall = Table("", "mean of images", "all objects", title=title, title_justify="left")
    overall.add_row(
        "Data Science Bowl", _number(scores["DSB"]), _number(sum(scores["dataset_AP"].values()) / len(scores["dataset_AP"]))
    )
    for name, iou in (("AP50", "0.50"), ("AP75", "0.75")):
        overall.add_row(f"{name}, TP / (TP + FP + FN)", _number(scores[name]), _number(scores["dataset_AP"][iou]))
    overall.add_row("aggregated Jaccard index", _number(scores["AJI"]), "")
    for name in ("PQ", "SQ", "RQ"):
        overall.add_row({"PQ": "panoptic quality, PQ"}.get(name, f"  {name}"), "", _number(scores[name]))
    console.print(overall)
    if len(scores["per_class"]) > 1:
        headings = ("AP50", "AP75", "PQ", "SQ", "RQ")
        classes = Table("class", *headings, title="Biology's scores of each class, all objects", title_justify="left")
        for name, row in scores["per_class"].items():
            classes.add_row(name, *(_number(row[heading]) for heading in headings))
        console.print(classes)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def print_stats(stats: DataStats, console: Console) -> None:
    """Prints a description as tables, and the suggestions as arguments to paste."""
    say = lambda text: console.print(text, markup=False, soft_wrap=True)  # noqa: E731
    of_these = f"{stats.images} images ({stats.empty_images} without objects)"
    say(f"{stats.name}: {of_these}, {stats.objects} objects, {stats.crowds} crowds")
    for name, (least, median, most) in (("height", stats.heights), ("width", stats.widths)):
        say(f"Image {name}: {least:.0f} to {most:.0f} pixels, median {median:.0f}")
    per_image = stats.objects_per_image
    say(
        f"Objects an image: median {per_image['median']:.0f}, 95 % have at most {per_image['p95']:.0f}, "
        f"the fullest {per_image['max']:.0f}"
    )
    shares = ", ".join(f"{share:.0%} {name}" for name, share in stats.area_shares.items())
    say(f"Objects by COCO's areas: {shares}")
    classes = Table(Column("class", overflow="fold"))
    for heading in ("objects", "images", "crowds"):
        classes.add_column(heading, justify="right")
    for row in sorted(stats.classes, key=lambda row: -row.objects):
        classes.add_row(row.name, str(row.objects), str(row.images), str(row.crowds))
    console.print(classes, markup=False)
    if stats.coverage is None:
        say("There are no objects to measure.")
        return
    say(f"Boxes in pixels of the model's input, short side {stats.short_side}, long side at most {stats.long_side}:")
    sides = Table("", *(f"{part} %" for part in PERCENTILES))
    for name, values in stats.sides.items():
        sides.add_row(name, *(f"{value:.2f}" if name == "height / width" else f"{value:.0f}" for value in values.values()))
    console.print(sides)
    cover = stats.coverage
    say(
        f"Anchors: the best one's IoU with an object is {cover.mean_iou:.2f} on average; at least 0.5 for {cover.over_50:.0%} "
        f"of the objects, at least 0.7 for {cover.over_70:.0%}"
    )
    say("Suggestions, for maskrcnn train:" if stats.suggestions else "Suggestions: none, the settings fit.")
    for suggestion in stats.suggestions:
        say(f"  {suggestion.arguments}\n      {suggestion.reason}")


def print_checkup(checkup: Checkup, console: Console, *, examples: int = 3) -> None:
    """Prints what `check_data` found: a row for each kind, then the first few of each in full."""
    kinds = checkup.kinds()
    if not kinds:
        console.print("Nothing was found: all checks passed.")
        return
    table = Table("", Column("what", overflow="fold"), Column("times", justify="right"), Column("--fix", overflow="fold"))
    colours = {"fault": "bold red", "warning": "yellow", "note": "dim"}
    for kind, found in kinds.items():
        remedies = {finding.remedy for finding in found}
        remedy = next(iter(remedies)) if len(remedies) == 1 else "see each"
        table.add_row(f"[{colours[found[0].level]}]{found[0].level}[/]", escape(kind), str(len(found)), escape(remedy))
    console.print(table)
    for kind, found in kinds.items():
        console.print(f"{kind}:", markup=False, soft_wrap=True)
        for finding in found[:examples]:
            names = [checkup.place_of(where)["file_name"] for where in finding.where[:4]]
            where = ", ".join(names) + (f" and {len(finding.where) - 4} more" if len(finding.where) > 4 else "")
            console.print(f"    {f'{where}: ' if where else ''}{finding.message}", markup=False, soft_wrap=True)
        if len(found) > examples:
            console.print(f"    … and {len(found) - examples} more", markup=False)
