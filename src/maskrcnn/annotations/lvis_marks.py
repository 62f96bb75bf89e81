"""What LVIS says of an image's classes beside its objects: which it was searched for in vain, which are not all annotated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.numbers import as_id
from maskrcnn.structures import Sample

ABSENT, INCOMPLETE = "neg_category_ids", "not_exhaustive_category_ids"
Ids = tuple[int, ...]


class ClassMarks:
    """The marks of a file's images, category ids as they are written.

    Args:
        images: as the JSON lists them.
        number_of: an image's number by what the file has for its id, see `ImageList.number`.
    """

    def __init__(self, images: Iterable[Any], number_of: Any) -> None:
        self._marks: dict[int, tuple[Ids, Ids]] = {}
        self._incomplete = 0
        for entry in images:
            if not isinstance(entry, dict) or not (entry.get(ABSENT) or entry.get(INCOMPLETE)):
                continue
            absent, incomplete = _ids(entry.get(ABSENT)), _ids(entry.get(INCOMPLETE))
            self._incomplete += bool(entry.get(INCOMPLETE))
            number = number_of(entry.get("id"))
            if number is not None:
                self._marks[number] = absent, incomplete

    def faults(self) -> list[Fault]:
        """That images have classes of which not every object is annotated: most losses take the others for background."""
        if not self._incomplete:
            return []
        message = (
            f"{self._incomplete} images have classes of which not every object is annotated ({INCOMPLETE}): "
            'heeded where box_head.class_loss="federated" alone'
        )
        return [Fault("not exhaustive", message, repaired=True)]

    def joined(self, samples: Sequence[Sample], labels: Mapping[int, int]) -> list[Sample]:
        """The samples with their marks.

        Args:
            labels: of each category id; -1 of a class that is not wanted.
        """
        return [self._marked(sample, labels) for sample in samples] if self._marks else list(samples)

    def _marked(self, sample: Sample, labels: Mapping[int, int]) -> Sample:
        if sample.image_id not in self._marks:
            return sample
        absent, incomplete = (
            tuple(sorted({label for number in ids if (label := labels.get(number, -1)) >= 0}))
            for ids in self._marks[sample.image_id]
        )
        return sample.replace(absent=absent, incomplete=incomplete)


def _ids(values: Any) -> Ids:
    """The whole numbers of a list; what is none says nothing."""
    numbers = map(as_id, values) if isinstance(values, list) else ()
    return tuple(number for number in numbers if number is not None)
