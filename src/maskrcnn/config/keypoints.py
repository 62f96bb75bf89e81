"""What keypoints are called, and what follows from their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

# https://cocodataset.org/#keypoints-eval: a person's, in COCO's order.
PERSON = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
# Places in `PERSON` that are drawn as joined, as COCO's annotations give them.
PERSON_SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
MOST_KEYPOINTS = 500  # of an object; OpenCV resizes 512 channels together

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])", re.IGNORECASE)


def mirror_of(names: Sequence[str]) -> tuple[int, ...]:
    """Which keypoint each one is in a mirror: a left eye becomes a right one. What has no other side stays itself.

    Args:
        names: such as `left_eye`, `eye.R` or `tail`; the side is the word left or right, or the letter l or r by itself.

    Returns:
        For each keypoint the place of the one whose position it takes.
    """
    places = {name.lower(): place for place, name in enumerate(names)}
    swapped = (_SIDE.sub(lambda side: _SIDES[side[0].lower()], name.lower()) for name in names)
    return tuple(places.get(name, place) for place, name in enumerate(swapped))
