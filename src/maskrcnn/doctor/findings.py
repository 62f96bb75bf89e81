"""What is wrong or odd with data, found by looking at all of it: for a list that a person works through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from maskrcnn.data.dataset import Dataset
from maskrcnn.data.imbalance import count_images, count_objects

Level = Literal["fault", "warning", "note"]
LEVELS: tuple[Level, ...] = ("fault", "warning", "note")
REPAIRED = "repaired when it is read"  # a remedy that needs nobody


class Where(NamedTuple):
    """An image, and what in it.

    Attributes:
        part: which data set: "train" or "val".
        place: of the image in the data set's samples.
        objects: places of the objects in question in the sample.
        rle: the mask of something that a model found there.
    """

    part: str
    place: int
    objects: tuple[int, ...] = ()
    rle: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: a few words, the same for all findings of a kind.
        level: "fault": wrong; "warning": may be wrong, a person decides; "note": good to know.
        message: what is there.
        where: the images; empty for what concerns a whole data set, or an image that could not be read.
        remedy: what the repaired copy does about it; "" where a person has to decide.
        leave_out: the images that the repaired copy leaves out for it.
    """

    kind: str
    level: Level
    message: str
    where: tuple[Where, ...] = ()
    remedy: str = ""
    leave_out: tuple[Where, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkup:
    """Data sets and what was found in them.

    Attributes:
        parts: the data sets that belong together: "train", and "val" where there is one.
        findings: the worst first, those last that were repaired and need nobody.
    """

    parts: Mapping[str, Dataset]
    findings: list[Finding] = field(default_factory=list)

    def with_findings(self, more: Iterable[Finding]) -> Checkup:
        """The same with further findings, in their order."""
        return Checkup(self.parts, sorted([*self.findings, *more], key=_urgency))  # stable

    def of_level(self, level: Level) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == level]

    def kinds(self) -> dict[str, list[Finding]]:
        """The findings of each kind, the worst kinds first, those that come often before others, what is repaired last."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.kind, []).append(finding)
        return dict(sorted(found.items(), key=lambda item: (_urgency(item[1][0]), -len(item[1]))))

    def place_of(self, where: Where) -> dict[str, Any]:
        """Where something is, in the words of the files: part, image, and the boxes of the objects."""
        sample = self.parts[where.part].samples[where.place]
        rows = list(where.objects)
        return {
            "part": where.part,
            "image_id": int(sample.image_id),
            "file_name": sample.file_name,
            "annotation_ids": [int(number) for number in sample.annotation_ids[rows]],
            "boxes": [[round(float(edge), 2) for edge in box] for box in sample.boxes[rows]],
        }

    def as_json(self) -> dict[str, Any]:
        """Everything as plain numbers and words: `parts`, `counts` by kind, and `findings`."""
        return {
            "parts": {name: _numbers(data) for name, data in self.parts.items()},
            "counts": {kind: len(found) for kind, found in self.kinds().items()},
            "findings": [
                {
                    "kind": finding.kind,
                    "level": finding.level,
                    "message": finding.message,
                    "remedy": finding.remedy,
                    "where": [self.place_of(where) for where in finding.where],
                }
                for finding in self.findings
            ],
        }


def _urgency(finding: Finding) -> tuple[bool, int]:
    return finding.remedy == REPAIRED, LEVELS.index(finding.level)


def _numbers(data: Dataset) -> dict[str, Any]:
    sizes = Counter(sample.size for sample in data.samples)
    return {
        "name": data.name,
        "images": len(data),
        "objects": int(count_objects(data).sum()),
        "classes": {
            category.name: {"objects": int(objects), "images": int(images)}
            for category, objects, images in zip(data.categories, count_objects(data), count_images(data))
        },
        "sizes": [{"height": height, "width": width, "images": count} for (height, width), count in sizes.most_common(20)],
    }
