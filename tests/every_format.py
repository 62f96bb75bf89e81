"""One small data set in every format that is read: shapes on images of 64 pixels, for tests of all that follows reading."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from maskrcnn.annotations.formats import WRITERS, write_annotations
from maskrcnn.data.dataset import Dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json

SIDE = 64
CLASSES = ("car", "person")  # two of Cityscapes', which has a list of its own
IMAGES = ("one", "two")


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(H, W, 3) image, (3, H, W) masks, and their classes: boxes on noise, one of them with a hole."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
    masks = np.zeros((3, SIDE, SIDE), bool)
    for mask, (left, top) in zip(masks, ((4, 4), (36, 6), (14, 36)), strict=True):
        left, top = left + int(rng.integers(4)), top + int(rng.integers(4))
        mask[top : top + 22, left : left + 20] = True
        image[mask] = rng.integers(120, 255, 3)
    masks[0, 14:18, 12:16] = False
    return image, masks, ["car", "person", "car"]


SCENES = {name: _scene(seed) for seed, name in enumerate(IMAGES)}


def write(name: str, folder: Path) -> Path:
    """The data set in this format; what `--data` takes."""
    if name in WRITERS:
        images, masks, labels = zip(*SCENES.values(), strict=True)
        write_annotations(Dataset.from_arrays(images, masks, labels), name, folder)
        return folder
    return _OTHERS[name](folder)


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def _json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _corners(mask: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, right, bottom of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _via(folder: Path) -> Path:
    content = {}
    for name, (image, masks, labels) in SCENES.items():
        _save(folder / f"{name}.png", image)
        regions = []
        for mask, label in zip(masks, labels, strict=True):
            left, top, right, bottom = _corners(mask)
            shape = {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top}
            regions.append({"shape_attributes": shape, "region_attributes": {"kind": label}})
        content[name] = {"filename": f"{name}.png", "size": 1, "regions": regions, "file_attributes": {}}
    return _json(folder / "via.json", content)


def _panoptic(folder: Path) -> Path:
    images, annotations = [], []
    for number, (name, (image, masks, labels)) in enumerate(SCENES.items(), start=1):
        _save(folder / f"images/{name}.png", image)
        colours = np.zeros((SIDE, SIDE, 3), np.uint8)
        segments = []
        for k, (mask, label) in enumerate(zip(masks, labels, strict=True), start=1):
            colours[mask] = (k, 0, 0)
            segments.append({"id": k, "category_id": 1 + CLASSES.index(label), "iscrowd": 0})
        _save(folder / f"panoptic_all/{name}.png", colours)
        images.append({"id": number, "file_name": f"{name}.png", "height": SIDE, "width": SIDE})
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    categories = [{"id": k, "name": name, "isthing": 1} for k, name in enumerate(CLASSES, start=1)]
    return _json(folder / "panoptic_all.json", {"images": images, "annotations": annotations, "categories": categories})


def _cityscapes(folder: Path) -> Path:
    for number, (image, masks, labels) in enumerate(SCENES.values()):
        stem = f"town_00000{number}_000019"
        values = np.full((SIDE, SIDE), 7, np.uint16)  # road
        for k, (mask, label) in enumerate(zip(masks, labels, strict=True)):
            values[mask] = {"car": 26000, "person": 24000}[label] + k
        _save(folder / f"gtFine/train/town/{stem}_gtFine_instanceIds.png", values)
        _save(folder / f"leftImg8bit/train/town/{stem}_leftImg8bit.png", image)
    return folder


def _supervisely(folder: Path) -> Path:
    for name, (image, masks, labels) in SCENES.items():
        _save(folder / f"set/img/{name}.png", image)
        objects = []
        for mask, label in zip(masks, labels, strict=True):
            file = io.BytesIO()
            Image.fromarray(np.dstack([mask * np.uint8(255)] * 4)).save(file, "PNG")
            bitmap = {"data": base64.b64encode(file.getvalue()).decode(), "origin": [0, 0]}
            objects.append({"classTitle": label, "geometryType": "bitmap", "bitmap": bitmap})
        _json(folder / f"set/ann/{name}.png.json", {"size": {"height": SIDE, "width": SIDE}, "objects": objects})
    _json(folder / "meta.json", {"classes": [{"title": name} for name in CLASSES]})
    return folder


def _open_images(folder: Path) -> Path:
    rows = ["MaskPath,ImageID,LabelName"]
    for name, (image, masks, labels) in SCENES.items():
        _save(folder / f"images/{name}.jpg", image)
        for k, (mask, label) in enumerate(zip(masks, labels, strict=True)):
            _save(folder / f"masks/{name}_m{k}.png", mask * np.uint8(255))
            rows.append(f"{name}_m{k}.png,{name},/m/{CLASSES.index(label)}")
    (folder / "train-masks.csv").write_text("\n".join(rows))
    (folder / "class-descriptions.csv").write_text("\n".join(f"/m/{k},{name}" for k, name in enumerate(CLASSES)))
    return folder


def _datumaro(folder: Path) -> Path:
    items = []
    for name, (image, masks, labels) in SCENES.items():
        _save(folder / f"images/all/{name}.png", image)
        annotations = [
            {"type": "mask", "group": 0, "label_id": CLASSES.index(label), "rle": rle_to_json(mask_to_rle(mask))}
            for mask, label in zip(masks, labels, strict=True)
        ]
        items.append({"id": name, "annotations": annotations, "image": {"path": f"{name}.png", "size": [SIDE, SIDE]}})
    labels = [{"name": name} for name in CLASSES]
    return _json(folder / "annotations/all.json", {"info": {}, "categories": {"label": {"labels": labels}}, "items": items})


def _ome_ngff(folder: Path) -> Path:
    import zarr

    scales = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]
    for name, (image, masks, _) in SCENES.items():
        root = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=2)
        axes = [{"name": axis} for axis in "cyx"]
        root.attrs.update(multiscales=[{"axes": axes, "datasets": [{"path": "0"}]}])
        root.create_array("0", data=np.moveaxis(image, 2, 0), chunks=(1, SIDE, SIDE))
        group = root.create_group("labels")
        group.attrs.update(labels=["cells"])
        label = group.create_group("cells")
        label.attrs.update(multiscales=scales)
        numbers = sum(mask * np.uint16(k) for k, mask in enumerate(masks, start=1))
        label.create_array("0", data=numbers, chunks=(SIDE, SIDE))
    return folder


def _cellpose(folder: Path) -> Path:
    for name, (image, masks, _) in SCENES.items():
        _save(folder / f"{name}.png", image)
        numbers = sum(mask * np.uint16(k) for k, mask in enumerate(masks, start=1))
        np.save(folder / f"{name}_seg.npy", {"masks": numbers, "outlines": [], "filename": name, "est_diam": np.float32(30)})
    return folder


_OTHERS: dict[str, Callable[[Path], Path]] = {
    "via": _via,
    "coco-panoptic": _panoptic,
    "cityscapes": _cityscapes,
    "supervisely": _supervisely,
    "open-images": _open_images,
    "ome-ngff": _ome_ngff,
    "cellpose": _cellpose,
    "datumaro": _datumaro,
}
