"""What is wrong with a data set, said before training starts and all together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

WITHOUT_END = "image file without its end"


@dataclass(frozen=True)
class Fault:
    """One thing that contradicts itself or cannot be used.

    Attributes:
        kind: a few words, the same for all faults of a kind.
        message: what came and what was wanted.
        image_id: the image's id in the annotation file, where there is one.
        annotation_id: the annotation's id, where the fault is an annotation's.
        repaired: whether the thing was put right and is used; otherwise it is left out.
    """

    kind: str
    message: str
    image_id: int | None = None
    annotation_id: int | None = None
    repaired: bool = False

    @property
    def place(self) -> str:
        """Which image and which annotation: "image 3, annotation 17"."""
        ids = (("image", self.image_id), ("annotation", self.annotation_id))
        return ", ".join(f"{what} {number}" for what, number in ids if number is not None)


def summarize(faults: Iterable[Fault], *, examples: int = 3) -> str:
    """Faults by kind, those that cost something first: how many, what became of them, and the first few in full."""
    kinds: dict[tuple[bool, str], list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.repaired, fault.kind].append(fault)
    lines = []
    for (repaired, kind), alike in sorted(kinds.items(), key=lambda item: (item[0][0], -len(item[1]))):
        lines.append(f"{len(alike)} × {kind} ({'repaired' if repaired else 'left out'})")
        lines += [
            f"    {fault.place}: {fault.message}" if fault.place else f"    {fault.message}" for fault in alike[:examples]
        ]
        if len(alike) > examples:
            lines.append(f"    … and {len(alike) - examples} more")
    return "\n".join(lines)
