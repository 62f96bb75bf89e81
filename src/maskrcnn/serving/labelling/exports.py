"""What was corrected, as a data set in any of the formats that `maskrcnn.annotations` writes."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from maskrcnn.annotations.formats import write_annotations
from maskrcnn.data.dataset import load_dataset
from maskrcnn.serving.labelling.store import IMAGES, Store


class Export(NamedTuple):
    """A file to download."""

    content: bytes
    media_type: str
    name: str


def export(store: Store, form: str, *, images: bool) -> Export:
    """All corrected images: COCO without its images as one JSON file, everything else as a ZIP archive.

    Args:
        form: one of `maskrcnn.annotations.formats.WRITERS`.
        images: whether the images go along.

    Raises:
        ValueError: nothing is corrected yet, or the format cannot hold it.
    """
    data = store.as_coco()
    if form == "coco" and not images:
        return Export(json.dumps(data).encode(), "application/json", "annotations.json")
    if not data["images"]:
        raise ValueError("No image is corrected yet, so there is nothing to export.")
    with tempfile.TemporaryDirectory(prefix="maskrcnn-") as folder:
        truth, out = Path(folder) / "annotations.json", Path(folder) / "out"
        truth.write_text(json.dumps(data))
        dataset = load_dataset(truth, images=store.folder / IMAGES)
        write_annotations(dataset, form, out, images="link" if images else "none")
        return Export(zipped(out), "application/zip", f"{form}.zip")


def zipped(folder: Path) -> bytes:
    """The files below a folder; names in the archive begin at the folder. Images are packed already and only stored."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed = path.suffix.lower() in (".json", ".txt", ".xml", ".csv", ".geojson", ".yaml")
                kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                target.write(path, path.relative_to(folder), kind)
    return archive.getvalue()
