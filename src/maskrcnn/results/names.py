"""What the files of each image's results are called."""

from __future__ import annotations

from pathlib import Path


class Names:
    """Names of one folder's results, each given once; `a.png` and `A.png` are one name on some disks."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, stem: str) -> str:
        """The stem, or the stem with the first free number."""
        short = stem.encode(errors="ignore")[:200]  # file systems take names of 255 bytes
        stem = short.decode(errors="ignore") or "image"
        name, number = stem, 2
        while name.casefold() in self._given:
            name, number = f"{stem}_{number}", number + 1
        self._given.add(name.casefold())
        return name


def stem_of(path: Path) -> str:
    """A file's name without its suffix; what follows the last dot of a DICOM UID is none."""
    if path.name.lower().endswith(".nii.gz"):
        return path.name[: -len(".nii.gz")]
    return path.name if path.suffix[1:].isdigit() else path.stem
