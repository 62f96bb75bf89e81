"""Laws of drawn results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from maskrcnn.config.model import Category
from maskrcnn.geometry import rle
from maskrcnn.results import draw
from maskrcnn.structures import Detections, Sample

SIZE = (240, 320)
GREY = np.full((*SIZE, 3), 90, np.uint8)


def detections(
    boxes: Sequence[tuple[float, ...]], labels: Sequence[int] = (), names: Sequence[str] = ("date", "fig")
) -> Detections:
    """Detections whose masks are the left halves of their boxes."""
    small = np.zeros((len(boxes), 28, 28), np.float32)
    small[:, :, :14] = 1
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        labels=np.array(labels if len(labels) else [0] * len(boxes), np.int32),
        small_masks=small,
        size=SIZE,
        class_names=list(names),
    )


def sample(found: Detections, crowd: Sequence[bool] = ()) -> Sample:
    return Sample(
        image_id=1,
        file_name="1.png",
        path="1.png",
        size=found.size,
        boxes=found.boxes,
        labels=found.labels,
        crowd=np.array(crowd if len(crowd) else [False] * len(found), bool),
        rles=found.rle(),
        areas=found.areas().astype(np.float32),
        annotation_ids=np.arange(len(found)),
    )


def changed(drawn: np.ndarray, image: np.ndarray = GREY) -> np.ndarray:
    return (drawn != image).any(axis=2)


def test_nothing_found_leaves_the_image_as_it_is() -> None:
    drawn = draw.draw_detections(GREY, detections([]))
    assert drawn is not GREY
    assert not changed(drawn).any()


def test_masks_are_tinted_and_the_image_given_is_not_touched() -> None:
    image = GREY.copy()
    found = detections([(50, 100, 150, 200)])
    drawn = draw.draw_detections(image, found)
    assert (image == GREY).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert changed(drawn)[found.masks[0]].all()
    assert not changed(drawn)[110:190, 104:145].any()  # the right half of the box is no mask


def test_crowded_images_keep_masks_and_outlines_alone() -> None:
    boxes = [(x, y, x + 12, y + 12) for x in range(0, 320, 16) for y in range(0, 240, 16)]
    found = detections(boxes, names=["nucleus"])
    drawn = draw.draw_detections(GREY, found)
    np.testing.assert_array_equal(changed(drawn), found.masks.any(axis=0))


def test_one_class_is_coloured_by_object_and_several_by_class() -> None:
    boxes = [(10, 10, 60, 60), (110, 110, 160, 160)]

    def colours(found: Detections) -> list[list[int]]:
        drawn = draw.draw_detections(GREY, found)
        return [drawn[35, 20].tolist(), drawn[135, 120].tolist()]

    one, other = colours(detections(boxes, names=["nucleus"]))
    assert one != other
    one, other = colours(detections(boxes, labels=[1, 1]))
    assert one == other
    one, other = colours(detections(boxes, labels=[0, 1]))
    assert one != other


def test_truth_and_detections_of_a_class_have_one_colour() -> None:
    found = detections([(10, 10, 60, 60), (110, 110, 160, 160)], labels=[1, 0])
    categories = [Category(1, "date"), Category(2, "fig")]
    truth, prediction = draw.draw_truth(GREY, sample(found), categories), draw.draw_detections(GREY, found)
    inside = found.masks.any(axis=0)
    inside[:20] = inside[100:120] = False  # captions differ
    np.testing.assert_array_equal(truth[inside], prediction[inside])


def test_crowds_are_drawn_and_named() -> None:
    found = detections([(110, 110, 160, 160)])
    categories = [Category(1, "date"), Category(2, "fig")]
    plain, crowd = (draw.draw_truth(GREY, sample(found, [crowd]), categories) for crowd in (False, True))
    assert changed(crowd).sum() > changed(plain).sum()  # its caption is longer


@pytest.mark.parametrize("seed", range(5))
def test_captions_lie_inside_and_on_no_other_caption(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 300, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 90, (40, 2))], axis=1)
    plates = list(draw._place(["date 0.97"] * 40, boxes, SIZE).values())
    assert len(plates) > 5
    covered = np.zeros(SIZE, int)
    for left, top, right, bottom in plates:
        assert 0 <= left < right <= SIZE[1]
        assert 0 <= top < bottom <= SIZE[0]
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1


def test_captions_do_not_hide_small_objects() -> None:
    boxes = np.array([(100, 100, 140, 140), (100, 85, 120, 98)], np.float32)  # the second where the first's caption would lie
    plates = draw._place(["date 0.97", "fig 0.80"], boxes, SIZE)
    assert len(plates) == 2
    assert not draw._shared(np.array(list(plates.values())), boxes[1:]).any()


def test_text_stands_out_from_its_plate_and_plates_from_black() -> None:
    for key in range(200):
        luma = draw._luma(draw.colour_of(key))
        ink = 0 if luma > 140 else 255
        assert abs(luma - ink) > 110
        assert luma >= 109
    assert len({draw.colour_of(key) for key in range(80)}) == 80


def test_captions_are_written_in_any_script() -> None:
    """A font without the letters would draw the same box for each."""
    texts = ["сова", "лиса", "日本", "中国"]
    drawn = [draw.draw_detections(GREY, detections([(100, 100, 180, 180)], names=[text, "other"])) for text in texts]
    assert changed(drawn[0], drawn[1]).any()
    assert changed(drawn[2], drawn[3]).any()


@pytest.mark.parametrize(
    "box", [(-20.0, -20.0, 400.0, 300.0), (5.2, 5.2, 5.4, 5.4), (0.0, 0.0, 0.0, 0.0), (319.0, 239.0, 320.0, 240.0)]
)
def test_odd_boxes_are_drawn_without_complaint(box: tuple[float, ...]) -> None:
    assert draw.draw_detections(GREY, detections([box])).shape == GREY.shape


def test_tiny_images_are_drawn_without_complaint() -> None:
    found = Detections(
        boxes=np.array([[0, 0, 3, 3]], np.float32),
        scores=np.ones(1, np.float32),
        labels=np.zeros(1, np.int32),
        small_masks=np.ones((1, 28, 28), np.float32),
        size=(3, 3),
        class_names=["nucleus"],
    )
    assert changed(draw.draw_detections(GREY[:3, :3], found), GREY[:3, :3]).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (GREY[:, :, 0], r"\(240, 320\) uint8"),
        (GREY.astype(np.float32), "float32"),
        (GREY[:100], r"\(100, 320\).*\(240, 320\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw.draw_detections(image, detections([(1, 1, 5, 5)]))


def test_any_channels_are_shown_as_grey_magenta_and_green_or_the_first_three() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 5), np.uint8)
    for channels, shown in ((1, [0, 0, 0]), (2, [0, 1, 0]), (3, [0, 1, 2]), (4, [0, 1, 2]), (5, [0, 1, 2])):
        np.testing.assert_array_equal(draw.as_rgb(image[:, :, :channels]), image[:, :, shown])


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_images_of_any_channels_are_drawn_on_as_they_are_shown(channels: int) -> None:
    found = detections([(2, 2, 20, 20), (5, 5, 30, 30)])
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, channels), np.uint8)
    untouched = image.copy()
    np.testing.assert_array_equal(draw.draw_detections(image, found), draw.draw_detections(draw.as_rgb(image), found))
    np.testing.assert_array_equal(image, untouched)


def test_a_hole_in_a_mask_is_not_tinted() -> None:
    found = detections([(100, 100, 200, 200)])
    ring = np.zeros(SIZE, bool)
    ring[100:200, 100:200] = True
    ring[120:180, 120:180] = False
    truth = sample(found).replace(rles=[rle.mask_to_rle(ring)])
    drawn = draw.draw_truth(GREY, truth, [Category(1, "date"), Category(2, "fig")])
    assert not changed(drawn)[122:178, 122:178].any()


def test_keypoints_are_drawn_where_they_are_and_unsure_ones_are_not():
    image = np.zeros((100, 120, 3), np.uint8)
    keypoints = np.array([[[20, 30, 0.9], [60, 30, 0.9], [90, 80, 0.01]]], np.float32)
    found = Detections(
        boxes=np.array([[5, 5, 110, 95]], np.float32),
        scores=np.ones(1, np.float32),
        labels=np.zeros(1, np.int32),
        small_masks=np.zeros((1, 28, 28), np.float32),
        size=(100, 120),
        class_names=["cat"],
        keypoints=keypoints,
        keypoint_names=("nose", "tail", "paw"),
        skeleton=((0, 1), (1, 2)),
    )
    drawn, plain = (draw.draw_detections(image, each) for each in (found, dataclasses.replace(found, keypoints=None)))
    changed = (drawn != plain).any(axis=2)
    assert changed[30, 20] and changed[30, 60] and changed[30, 40]  # two points and what joins them
    assert not changed[70:90, 80:100].any()
