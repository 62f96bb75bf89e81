"""What data is when no format fits: one sentence that names it, and what to do."""

from __future__ import annotations

from typing import Any

from maskrcnn.annotations.place import Place, is_image

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
OTHERS = {
    ".tfrecord": "a TFRecord, which is not read; export the data as COCO JSON",
    ".record": "a TFRecord, which is not read; export the data as COCO JSON",
    ".ndjson": "newline-delimited JSON, as Labelbox exports it, which is not read; export COCO JSON",
    ".manifest": "a manifest of SageMaker, which is not read; convert it to COCO JSON",
    ".mat": "a MATLAB file, which is not read; write label maps as PNG or TIFF",
    ".h5": "an HDF5 file, which is not read as data; write images and label maps as TIFF",
    ".npz": "a NumPy archive, which is not read; write images and label maps as TIFF, or use Dataset.from_arrays",
}
CELLPOSE = "one file of Cellpose: name the folder, where the image lies beside it"


def describe(place: Place) -> str:
    """What a file or folder is that cannot be read, for people: the end of a sentence that begins "it is"."""
    if place.is_folder:
        return _describe_folder(place)
    name = place.path.name.lower()
    if name.endswith("_seg.npy"):
        return CELLPOSE
    if name.endswith(ARCHIVES):
        return "an archive: unpack it and name the folder"
    if name.endswith(tuple(OTHERS)):
        return OTHERS[next(ending for ending in OTHERS if name.endswith(ending))]
    if is_image(place.path):
        return "a single image; wanted are annotations, or a folder with images and their masks"
    if place.head.lstrip()[:1] in ("{", "["):
        return _describe_json(place.sketch)
    if place.head.lstrip().startswith("<"):
        root = place.xml
        return f"XML with the root {root.tag!r} of no tool that is known" if root is not None else "empty"
    if {"index", "shape-type", "vertex-index"} <= set(place.columns):
        return "a CSV of shapes by napari, which is not read; export the labels as TIFF"
    if place.columns:
        return f"a CSV with the columns {', '.join(place.columns[:8])}, which no known format has"
    return "a file of no known format"


def _describe_json(content: Any) -> str:
    if isinstance(content, list):
        return _describe_list(content)
    keys = set(content)
    if {"project", "config", "attribute", "file", "metadata"} <= keys:
        return "a project of VIA 3, which is not read; export it as COCO or with VIA 2"
    if {"item", "annotations"} <= keys:
        return "V7's Darwin JSON, which is not read; export COCO from V7"
    if {"images", "annotations"} <= keys and "categories" not in keys:
        return "COCO without categories: captions, or a file that was cut; wanted is an instances file"
    if {"images", "categories"} <= keys:
        return "COCO without annotations, as of a test set: nothing can be learned from it"
    return (
        f"a JSON object with {', '.join(map(repr, sorted(map(str, keys))[:6])) or 'nothing in it'}, which no known format has"
    )


def _describe_list(content: list[Any]) -> str:
    first = content[0] if content else None
    if not isinstance(first, dict):
        return "a JSON list without annotations"
    if {"image_id", "category_id"} <= set(first):
        return "a COCO result file: detections without their images and classes; wanted is ground truth"
    if {"image", "annotations"} <= set(first):
        return "CreateML's JSON, which knows boxes alone; wanted are outlines or masks"
    return f"a JSON list of objects with {', '.join(map(repr, sorted(first)[:6]))}, which no known format has"


def _describe_folder(place: Place) -> str:
    if place.files_ending(*OTHERS):
        return OTHERS[next(ending for ending in OTHERS if place.files_ending(ending))]
    images = [file for file in place.files if is_image(file)]
    if images:
        return f"a folder of {len(images)} images without annotations or masks that belong to them"
    inside = ", ".join(sorted({entry.name for entry in (*place.subfolders, *place.files)})[:8])
    return (
        f"a folder with {inside or 'nothing in it'}: no annotations of a known format, and no images/ with masks/ beside them"
    )
