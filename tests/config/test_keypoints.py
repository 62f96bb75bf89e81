"""Names of keypoints."""

from __future__ import annotations

import pytest

from maskrcnn.config.keypoints import PERSON, PERSON_SKELETON, mirror_of
from maskrcnn.config.model import Category


def test_a_person_in_a_mirror():
    mirror = mirror_of(PERSON)
    assert mirror == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    Category(1, "person", PERSON, PERSON_SKELETON)


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("L_Eye", "R_Eye", "Nose"), (1, 0, 2)),
        (("eye.l", "eye.r"), (1, 0)),
        (("leftPaw", "rightPaw"), (1, 0)),
        (("left_ear", "tail"), (0, 1)),  # the other side is not marked
        (("collar", "roll"), (0, 1)),
        ((), ()),
    ],
)
def test_sides_are_told_by_names(names, mirror):
    assert mirror_of(names) == mirror
    assert [mirror[place] for place in mirror] == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "skeleton"), [(("a",), ((0, 1),)), (("a", "b"), ((0, 1, 1),)), ((3,), ()), (("a",) * 501, ())]
)
def test_what_no_class_can_have_is_refused(names, skeleton):
    with pytest.raises(ValueError, match="Keypoints are|skeleton joins"):
        Category(1, "cat", names, skeleton)
