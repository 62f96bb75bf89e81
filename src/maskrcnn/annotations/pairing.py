"""Images and their masks as people lay them out: folders of many names, masks beside images, names with a suffix."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.place import SPLITS, Place, is_image

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "train_images", "train_image", "jpegimages", "inputs", "input", "raw", "data", "x",
)  # fmt: skip
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "gt", "gts", "groundtruth", "ground_truth", "annotations", "annotation", "train_masks",
    "train_labels", "targets", "target", "instances", "segmentations", "segmentation", "seg", "y",
)  # fmt: skip
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
_ENDS = re.compile(
    r"[_\-. ](cp_masks?|masks?|labels?|gts?|ground_?truth|seg|segmentation|instances?|instance_?ids)$", re.IGNORECASE
)

_PARTS = {name for names in SPLITS.values() for name in names}
_NAMED = re.compile(r"^(?P<name>[^\W\d_].*?)([_\- ]\d+)+$")
NO_NAMES = {"mask", "object", "instance", "obj", "m", "label", "seg", "roi", "cell_mask", "nucleus_mask"}


@dataclass
class Pair:
    """One image and the masks that have its name."""

    stem: str
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)

    @property
    def listed(self) -> str:
        return ", ".join(str(file) for file in self.images + self.masks)


@dataclass(frozen=True)
class Pairs:
    """Images and masks of a data set, by the images' names; masks without an image have none."""

    pairs: list[Pair]
    images: Path
    masks: Path


def find_pairs(place: Place) -> Pairs | None:
    """The images of a folder with the masks of their names; None where there are no masks.

    `images/` and `masks/` or folders that are called so in other words, masks with the image's name or that with `_mask`,
    `_masks`, `_cp_masks`, `_label` … behind it; or both in one folder, told apart by that ending.
    """
    if not place.is_folder:
        return None
    images, masks = place.images or place.subfolder(*IMAGE_FOLDERS), place.subfolder(*MASK_FOLDERS)
    if images is not None and masks is not None:
        found = [file for file in masks.iterdir() if file.suffix.lower() in MASK_SUFFIXES]
        return Pairs(_pair(_images_in(images), found), images, masks) if found else None
    files = [file for file in place.files if is_image(file)]
    found = [file for file in files if _ENDS.search(file.stem) and file.suffix.lower() in MASK_SUFFIXES]
    alone = [file for file in files if file.stem.lower() in MASK_FOLDERS and file.suffix.lower() in MASK_SUFFIXES]
    if not found and len(files) == 2 and len(alone) == 1:  # napari's Labels.tif beside the one image
        image = next(file for file in files if file != alone[0])
        return Pairs([Pair(image.stem, [image], alone)], place.path, place.path)
    rest = [file for file in files if file not in set(found)]
    return Pairs(_pair(rest, found), place.path, place.path) if found and rest else None


def _images_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file() and is_image(file) and not file.name.startswith(".")]


def _pair(images: Iterable[Path], masks: Iterable[Path]) -> list[Pair]:
    pairs: dict[str, Pair] = {}
    for image in sorted(images):
        pairs.setdefault(image.stem, Pair(image.stem)).images.append(image)
    for mask in sorted(masks):
        if mask.name.startswith("."):
            continue
        stem = mask.stem if mask.stem in pairs else _ENDS.sub("", mask.stem)
        pairs.setdefault(stem, Pair(stem)).masks.append(mask)
    return list(pairs.values())


@dataclass(frozen=True)
class MaskFiles:
    """One image and the files of its objects' masks."""

    image: Found
    file_name: str
    masks: list[Path]


def find_files_of_objects(place: Place) -> list[MaskFiles]:
    """Images with one mask file for each object; empty where the folder is not laid out so.

    Kaggle's Data Science Bowl (`ID/images/ID.png`, `ID/masks/*.png`, perhaps in `stage1_train/`), `images/` with
    `masks/ID/*.png`, and `images/` with several masks whose names begin with the image's.
    """
    if not place.is_folder:
        return []
    for folder in (place, *map(Place, place.subfolders[:5])):
        found = _as_data_science_bowl(folder)
        if found:
            return found
    images, masks = place.images or place.subfolder(*IMAGE_FOLDERS), place.subfolder(*MASK_FOLDERS)
    if images is None or masks is None:
        return []
    return _in_folders(_images_in(images), masks) or _with_prefix(_images_in(images), masks)


def _as_data_science_bowl(place: Place) -> list[MaskFiles]:
    found = []
    for folder in place.subfolders:
        inner = folder / "images"
        if folder.name.lower() in _PARTS:
            continue  # of a data set of label maps, say
        if inner.is_dir() and (folder / "masks").is_dir():
            images = sorted(_images_in(inner))
            if len(images) == 1:
                found.append(MaskFiles(Found(images[0]), f"{folder.name}/images/{images[0].name}", _masks_in(folder / "masks")))
            else:
                problem = f"{inner} holds one image; received {len(images)}"
                found.append(MaskFiles(Found(problem=problem), folder.name, []))
    return found


def _in_folders(images: list[Path], masks: Path) -> list[MaskFiles]:
    folders = {folder.name: folder for folder in masks.iterdir() if folder.is_dir()}
    named = {key for image in images for key in (image.stem, image.name) if key in folders}
    if not named:
        return []
    found = []
    for image in sorted(images):
        folder = folders.get(image.stem) or folders.get(image.name)
        found.append(MaskFiles(Found(image), image.name, [] if folder is None else _masks_in(folder)))
    known = {image.stem for image in images} | {image.name for image in images}
    lost = [folder for name, folder in sorted(folders.items()) if name not in known]
    return found + [
        MaskFiles(Found(problem=f"there is no image {folder.name} for {folder}"), folder.name, []) for folder in lost
    ]


def _with_prefix(images: list[Path], masks: Path) -> list[MaskFiles]:
    """Masks `NAME_CLASS_K.png` for each image NAME: where some image has several."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    stems = sorted((image.stem for image in images), key=len, reverse=True)
    lost = []
    for mask in _masks_in(masks):
        stem = next(
            (stem for stem in stems if mask.stem.startswith(stem) and mask.stem[len(stem) :][:1] in ("_", "-", ".")), None
        )
        if stem is None or _ENDS.fullmatch(mask.stem[len(stem) :]):
            lost.append(mask)
        else:
            by_stem[stem].append(mask)
    if not by_stem or len(lost) > len(images) or max(map(len, by_stem.values())) < 2:
        return []
    found = [MaskFiles(Found(image), image.name, by_stem.get(image.stem, [])) for image in sorted(images)]
    return found + [MaskFiles(Found(problem=f"there is no image for {mask}"), mask.name, []) for mask in lost]


def _masks_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in MASK_SUFFIXES and not file.name.startswith("."))


def class_in_name(name: str, image_stem: str = "") -> str:
    """What the name of an object's file or shape says of its class: what stands before its last numbers, `cat_3`; else ""."""
    if image_stem and name.startswith(image_stem):
        name = name[len(image_stem) :].lstrip("_-. ")
    match = _NAMED.match(name)
    return "" if match is None or match["name"].lower() in NO_NAMES else match["name"]
