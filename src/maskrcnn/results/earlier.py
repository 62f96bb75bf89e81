"""Results of an earlier run in the same folder: beside those of a new one nothing would tell whose they are."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

IMAGES = "images.json"  # which files belong to which image
COMMON = ("predictions.json", IMAGES, "measurements.csv", "measurements.parquet")
ENDINGS = ("_overlay.png", "_labels.png", "_labels.ome.tif", "_labels.nii.gz", "_seg.dcm", ".geojson")
DATA_SETS = (  # folders of what was found, in each format of `annotations.formats.WRITERS`
    "predictions-coco", "predictions-yolo", "predictions-labelme", "predictions-voc", "predictions-cvat",
    "predictions-label-studio", "predictions-label-maps", "predictions-mask-files", "predictions-rle-csv", "predictions-imagej",
    "predictions-qupath", "predictions-parquet", "predictions-parquet-images", "predictions-shards",
)  # fmt: skip
LARGE_ROWS = "_predictions.json"
LARGE_ENDINGS = (LARGE_ROWS, "_overlay.jpg", "_labels.tif", "_labels.zarr", ".geojson")
MAX_BYTES = 1 << 30  # of `IMAGES`: about 100 an image


def set_aside(folder: Path) -> Path | None:
    """Moves the files of earlier predictions to `earlier/1/`, or the next free number; others in the folder stay.

    Args:
        folder: that a new prediction is going to write to; it may be missing.

    Returns:
        Where they are now; None where there were none.
    """
    names: list[tuple[str, tuple[str, ...]]] = [(name, ENDINGS) for name in _names(folder / IMAGES)]
    names += [(path.name.removesuffix(LARGE_ROWS), LARGE_ENDINGS) for path in folder.glob(f"*{LARGE_ROWS}")]
    candidates = [folder / name for name in (*COMMON, *DATA_SETS)]
    candidates += [folder / f"{name}{ending}" for name, endings in names for ending in endings]
    earlier = [path for path in dict.fromkeys(candidates) if path.exists()]
    if not earlier:
        return None
    place = next(place for k in count(1) if not (place := folder / f"earlier/{k}").exists())
    place.mkdir(parents=True)
    for path in earlier:
        path.rename(place / path.name)
    return place


def _names(path: Path) -> list[str]:
    """What the files of each image begin with, as `IMAGES` says it; only names that stay in the folder."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return []
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
        names = [str(row[key]) for row in rows for key in ("name", "name_in_file") if key in row]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    return [name for name in dict.fromkeys(names) if name and Path(name).name == name]
