"""Where the images of an annotation file lie, whatever the tool and the machine that wrote their names."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from maskrcnn.annotations.place import is_image

MAX_FILES = 2_000_000  # that are looked through for images by their names alone
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # how Label Studio begins the names of uploaded files
_SPLIT = re.compile(r"^(instances|lvis_v\d+(\.\d+)?|panoptic|person_keypoints|labels|annotations)[_-]")


@dataclass(frozen=True)
class Found:
    """What became of an image's name: the file, or why there is none.

    Attributes:
        path: the file, where it was found.
        problem: else what is wrong, for a fault.
        outside: the name leads out of the folder of images, and nothing of its last part lies in it.
        by_name: found by the last part of its name alone; told as a repaired fault.
    """

    path: Path | None = None
    problem: str = ""
    outside: bool = False
    by_name: bool = False

    def as_usual(self) -> Found:
        """The same where names without their folders are the rule of a format, and nothing to tell."""
        return replace(self, by_name=False)


class ImageFinder:
    """Finds images by the names that annotation files give them, in one or several folders and never outside of them.

    A name is tried as it is written, then with backslashes as separators, then by its last part alone: that of another
    machine's path, of an address, or of an upload that was renamed. The last part counts where one file alone has it.

    Args:
        folders: where images may lie, the likeliest first.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = list(dict.fromkeys(folders))
        self._first = 0  # the folder where the last one was: the next is likely there too

    def find(self, name: str) -> Found:
        """The file of an image's name."""
        outside = False
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            for k in (self._first, *range(len(self.folders))):
                path = self.folders[k] / written
                if not is_inside(path, self.folders[k]):
                    outside = True
                elif os.path.isfile(path):  # unlike `path.is_file()` it also says no to names that no system takes
                    self._first = k
                    return Found(path)
        for last in _last_parts(name):
            for by_name in self._by_name:
                same = by_name.get(last.casefold(), [])
                if len(same) == 1:
                    return Found(same[0], by_name=True)
                if same:
                    listed = ", ".join(str(path) for path in same[:3])
                    return Found(problem=f"{name!r} may be any of {len(same)} files: {listed}; name their folder with --images")
        if outside:
            return Found(problem=f"{name!r} leads out of {self.folders[0]}", outside=True)
        looked = ", ".join(str(folder) for folder in self.folders)
        return Found(problem=f"there is no file {name} in {looked}; name its folder with --images")

    @cached_property
    def _by_name(self) -> list[dict[str, list[Path]]]:
        """For each folder every image in and below it by its last part, and by that without its suffix."""
        return [_images_by_name(folder) for folder in self.folders]


def _images_by_name(folder: Path) -> dict[str, list[Path]]:
    """The images in a folder and below it, the first `MAX_FILES`; links to folders are not followed."""
    found: dict[str, list[Path]] = defaultdict(list)
    count = 0
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if is_image(Path(name))):
            found[path.name.casefold()].append(path)
            found[path.stem.casefold()].append(path)
            count += 1
        if count >= MAX_FILES:
            break
    return dict(found)


def _last_parts(name: str) -> list[str]:
    """What the file may be called: the last part of a path or address, that of its query, and without an upload's number."""
    address = urlsplit(name) if "://" in name or "?" in name else None
    written = [*(value for values in parse_qs(address.query).values() for value in values), address.path] if address else []
    decoded = [text for each in (*written, name) for text in (unquote(each), each)]  # a file's own name may have ? and %20 too
    lasts = [PurePosixPath(text.replace("\\", "/")).name for text in decoded]
    lasts += [_UPLOADED.sub("", last, count=1) for last in lasts if _UPLOADED.match(last)]
    return [last for last in dict.fromkeys(lasts) if last]


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in its folder as it is written; links that a person made there are theirs."""
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def image_folders(file: Path, images: Path | None = None) -> list[Path]:
    """Where the images of an annotation file may lie, the likeliest first.

    The folder that was named, alone. Else the folder with the file's stem, `images/` beside the file, and the file's own; and
    for a file in `annotations/` or `labels/` the same beside that folder, with those that COCO and CVAT name after the split:
    `train2017/`, `images/train2017/`.
    """
    if images is not None:
        return [images]
    split = _SPLIT.sub("", file.stem)
    beside = [file.parent]
    if file.parent.name.lower() in ("annotations", "labels", "annotation"):
        beside = [file.parent.parent, file.parent]
    candidates = []
    for folder in beside:
        named = (file.stem, split, f"images/{split}", f"images/{file.stem}", "images", "imgs", "img", "data", "JPEGImages")
        candidates += [folder / name for name in named]
    own = [file.parent] if len(beside) == 1 else [file.parent, file.parent.parent]
    return [folder for folder in dict.fromkeys([*candidates, *own]) if folder.is_dir()]
