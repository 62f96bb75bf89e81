"""Laws of moving an image and its masks by one map."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from small_data import read_samples

from maskrcnn.config.augment import AugmentConfig
from maskrcnn.config.fields import replace
from maskrcnn.config.model import ImageConfig
from maskrcnn.data.augment import Augmentation
from maskrcnn.data.warp import Warp, warp_image, warp_sample
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_mask
from maskrcnn.structures import Sample

IMAGE = ImageConfig(short_side=96, long_side=160, padding="black")
GROUND = 10
GEOMETRIES = {
    "mirrors": AugmentConfig(horizontal_flip=0.5, vertical_flip=0.5),
    "turns": AugmentConfig(turns=0.75),
    "shrunk": AugmentConfig(jitter=(0.3, 0.6)),
    "grown": AugmentConfig(jitter=(1.5, 2.5)),
    "short_sides": AugmentConfig(short_sides=(64, 80, 130)),
    "rotated": AugmentConfig(rotation=30.0),
    "bent": AugmentConfig(elastic=1.0, elastic_spacing=32),
    "all": AugmentConfig(vertical_flip=0.5, turns=0.75, jitter=(0.4, 2.0), rotation=20.0, elastic=1.0, elastic_spacing=32),
}


def coloured(size: tuple[int, int] = (90, 120)) -> Sample:
    """Disks of a colour each, some across the image's edges, on a ground of another."""
    image, rles, boxes = np.full((*size, 3), GROUND, np.uint8), [], []
    for row in range(3):
        for column in range(4):
            mask = np.zeros(size, np.uint8)
            cv2.ellipse(mask, (2 + 38 * column, 6 + 38 * row), (13, 9), 30 * column, 0, 360, 1, cv2.FILLED)
            image[mask > 0] = (60 + 60 * row, 60 + 45 * column, 250 - 40 * row)
            rles.append(mask_to_rle(mask))
            boxes.append(mask_to_box(mask))
    count = len(rles)
    return Sample(
        image_id=1,
        file_name="disks.png",
        path="disks.png",
        size=size,
        boxes=np.array(boxes),
        labels=np.arange(count, dtype=np.int32) % 3,
        crowd=np.arange(count) % 5 == 0,
        rles=rles,
        areas=np.array([rle_area(rle) for rle in rles], np.float32),
        annotation_ids=np.arange(count, dtype=np.int64) + 100,
        image=image,
    )


def colour_of(annotation_id: int) -> np.ndarray:
    row, column = divmod(annotation_id - 100, 4)
    return np.array((60 + 60 * row, 60 + 45 * column, 250 - 40 * row))


def changed(config: AugmentConfig, seed: int, sample: Sample | None = None) -> Sample:
    return Augmentation(config, IMAGE)(coloured() if sample is None else sample, np.random.default_rng(seed))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_each_mask_stays_on_its_object(name):
    disk = np.ones((3, 3), np.uint8)
    seen = 0
    for seed in range(12):
        after = changed(GEOMETRIES[name], seed)
        for annotation_id, rle in zip(after.annotation_ids, after.rles, strict=True):
            mask = rle_to_mask(rle).astype(np.uint8)
            colour = colour_of(annotation_id) - GROUND
            painted = np.abs(after.image - GROUND - colour).max(axis=2) <= 12
            half = (after.image - GROUND) @ colour >= 0.5 * colour @ colour  # edges fade over some pixels where images grow
            inner = cv2.erode(mask, disk, borderType=cv2.BORDER_REPLICATE) > 0
            outer = cv2.dilate(mask, disk) > 0
            assert half[inner].all() and not (painted & ~outer).any()
            seen += inner.sum() > 20
    assert seen > 30


@pytest.mark.parametrize("name", GEOMETRIES)
def test_boxes_are_tight_areas_are_the_masks_and_all_lies_in_the_image(name):
    for seed in range(6):
        after = changed(GEOMETRIES[name], seed)
        assert after.image.shape == (*after.size, 3) and after.image.dtype == np.uint8
        for box, area, rle in zip(after.boxes, after.areas, after.rles, strict=True):
            assert rle["size"] == list(after.size) and rle_area(rle) == area > 0
            np.testing.assert_array_equal(box, mask_to_box(rle_to_mask(rle)))
        rows = after.annotation_ids - 100
        np.testing.assert_array_equal(after.labels, coloured().labels[rows])
        assert after.crowd[coloured().crowd[rows]].all()  # crowds stay crowds
        assert after.boxes.dtype == after.areas.dtype == np.float32 and after.labels.dtype == np.int32
        assert after.crowd.dtype == bool and after.annotation_ids.dtype == np.int64


@pytest.mark.parametrize("name", GEOMETRIES)
def test_an_image_without_objects_is_changed_too(name):
    (empty,) = read_samples(np.random.default_rng(0), [(50, 70)], [0])
    after = changed(GEOMETRIES[name], 1, empty)
    assert after.boxes.shape == (0, 4) and after.rles == [] and after.image.shape == (*after.size, 3)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 16])
def test_every_channel_is_moved_as_if_it_were_alone(channels):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, channels), np.uint8)
    config = ImageConfig(36, 60, channels=channels, mean=(90.0,) * channels, std=(1.0,) * channels)
    bent = AugmentConfig(rotation=30.0, elastic=1.0, elastic_spacing=8, jitter=(0.8, 1.5), turns=1.0)
    warp = Augmentation(bent, config).warp((50, 70), np.random.default_rng(3))
    as_rgb = dataclasses.replace(warp, bend=dataclasses.replace(warp.bend, ground=(90.0,) * 3))
    warped = warp_image(image, warp)
    assert warped.shape[2] == channels
    for channel, moved in enumerate(np.moveaxis(warped, 2, 0)):
        grey = warp_image(image[:, :, channel : channel + 1].repeat(3, axis=2), as_rgb)
        np.testing.assert_array_equal(moved, grey[:, :, 0])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_turns_and_mirrors_are_numpys_bit_by_bit(turns, mirrored):
    (sample,) = read_samples(np.random.default_rng(0), [(20, 31)], [5])
    after = warp_sample(sample, Warp((20, 31), (0, 0, 31, 20), (20, 31), None, turns, mirrored), min_visible=0.1, min_area=4)

    def expected(pixels):
        turned = np.rot90(pixels, turns)
        return np.fliplr(turned) if mirrored else turned

    np.testing.assert_array_equal(after.image, expected(sample.image))
    for old, new in zip(sample.rles, after.rles, strict=True):
        np.testing.assert_array_equal(rle_to_mask(new), expected(rle_to_mask(old)))
    np.testing.assert_array_equal(after.areas, sample.areas)
    assert not after.crowd.any()


def test_what_a_config_draws_are_numpys_mirrors():
    (sample,) = read_samples(np.random.default_rng(0), [(20, 31)], [5])
    up = Augmentation(AugmentConfig(horizontal_flip=0.0, vertical_flip=1.0), IMAGE)(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(up.image, sample.image[::-1])
    both = Augmentation(AugmentConfig(horizontal_flip=1.0, vertical_flip=1.0), IMAGE)(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(both.image, sample.image[::-1, ::-1])
    turned = Augmentation(AugmentConfig(horizontal_flip=0.0, turns=1.0), IMAGE)
    found = {turned(sample, np.random.default_rng(seed)).image.tobytes() for seed in range(30)}
    assert found == {np.rot90(sample.image, turns).tobytes() for turns in (1, 2, 3)}


def test_four_turns_change_nothing():
    sample = coloured()
    for _ in range(4):
        height, width = sample.size
        sample = warp_sample(
            sample, Warp((height, width), (0, 0, width, height), (height, width), turns=1), min_visible=0, min_area=0
        )
    np.testing.assert_array_equal(sample.image, coloured().image)
    assert sample.rles == coloured().rles and sample.size == coloured().size


def test_a_crop_is_the_resized_image_cut():
    sample = coloured()
    height, width, left, top = 140, 187, 31, 22
    whole = warp_sample(sample, Warp(sample.size, (0, 0, 120, 90), (height, width)), min_visible=0, min_area=0)
    unit = 120 / width, 90 / height
    region = (left * unit[0], top * unit[1], (left + 96) * unit[0], (top + 80) * unit[1])
    part = warp_sample(sample, Warp(sample.size, region, (80, 96)), min_visible=0, min_area=0)
    cut = np.s_[top : top + 80, left : left + 96]
    assert np.abs(part.image.astype(int) - whole.image[cut]).max() <= 1
    masks = dict(zip(whole.annotation_ids.tolist(), (rle_to_mask(rle)[cut] for rle in whole.rles), strict=True))
    assert part.annotation_ids.tolist() == [row for row, mask in masks.items() if mask.any()]
    for row, rle in zip(part.annotation_ids.tolist(), part.rles, strict=True):
        assert (rle_to_mask(rle) != masks[row]).sum() <= 2  # cells that are half mask, but for rounding


def test_an_object_of_which_a_crop_leaves_little_becomes_a_crowd_and_a_speck_goes():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:30] = True  # 400 pixels; a crop that starts at column 29 leaves 20
    sample = coloured().replace(
        image=np.zeros((40, 60, 3), np.uint8), size=(40, 60), boxes=np.array([[10, 10, 30, 30]], np.float32),
        labels=np.zeros(1, np.int32), crowd=np.zeros(1, bool), rles=[mask_to_rle(mask)], areas=np.array([800], np.float32),
        annotation_ids=np.array([7]),
    )  # fmt: skip
    for left, visible, crowd in ((27, 0.15, False), (29, 0.05, True)):
        after = warp_sample(sample, Warp((40, 60), (left, 0, 60, 40), (40, 60 - left)), min_visible=0.1, min_area=4)
        assert after.crowd.tolist() == [crowd]
        np.testing.assert_allclose(after.areas, [800 * visible])  # what was annotated, in proportion
        np.testing.assert_array_equal(after.boxes, [[0, 10, 30 - left, 30]])
    warp = Warp((40, 60), (27, 27, 60, 40), (13, 33))  # leaves 9 pixels
    assert len(warp_sample(sample, warp, min_visible=0.0, min_area=9).rles) == 1
    assert len(warp_sample(sample, warp, min_visible=0.0, min_area=10).rles) == 0
    assert len(warp_sample(sample, Warp((40, 60), (30, 0, 60, 40), (40, 30)), min_visible=0.0, min_area=0).rles) == 0


def test_an_object_that_was_annotated_as_a_speck_stays():
    mask = np.zeros((40, 60), bool)
    mask[3, 5] = True
    sample = coloured()
    sample = sample.replace(rles=[*sample.rles[1:], mask_to_rle(mask)], image=sample.image[:40, :60], size=(40, 60))
    sample = sample.replace(rles=sample.rles[-1:] * len(sample.rles))
    after = warp_sample(sample, Warp((40, 60), (0, 0, 60, 40), (40, 60), turns=1), min_visible=0.1, min_area=4)
    assert len(after.rles) == len(sample.rles) and not after.crowd[~sample.crowd].any()


def test_jitter_cuts_a_square_and_keeps_smaller_images_whole():
    sizes = [changed(AugmentConfig(jitter=(0.4, 2.0)), seed) for seed in range(30)]
    assert all(max(after.size) <= 96 and after.fitted for after in sizes)
    assert {after.size for after in sizes if min(after.size) == 96} == {(96, 96)}
    smaller = [after for after in sizes if max(after.size) < 96]
    assert smaller and all(len(after.rles) == 12 for after in smaller)
    assert changed(AugmentConfig(jitter=(2.0, 2.0), crop=50), 0).size == (50, 50)


def test_an_object_that_only_shrinks_is_no_crowd():
    after = changed(AugmentConfig(jitter=(0.25, 0.25)), 0)
    assert len(after.rles) == 12
    np.testing.assert_array_equal(after.crowd, coloured().crowd)


@pytest.mark.parametrize("seed", range(4))
def test_rotated_to_the_edge_a_mask_ends_where_the_image_does(seed):
    sample = coloured().replace(image=np.full((90, 120, 3), 255, np.uint8), rles=[mask_to_rle(np.ones((90, 120), bool))] * 12)
    after = changed(AugmentConfig(rotation=30.0, jitter=(0.5, 2.0)), seed, sample)
    assert set(np.unique(after.image)) <= {0, 255}
    for rle in after.rles:
        np.testing.assert_array_equal(rle_to_mask(rle), after.image[..., 0] == 255)


@pytest.mark.parametrize("seed", range(6))
def test_bending_by_nothing_is_scale_and_crop_alone(seed):
    plain = AugmentConfig(vertical_flip=0.5, turns=0.5, jitter=(1.2, 2.0))
    one, other = changed(plain, seed), changed(replace(plain, elastic=1.0, elastic_shift=0.0), seed)
    assert one.size == other.size and one.annotation_ids.tolist() == other.annotation_ids.tolist()
    assert np.abs(one.image.astype(int) - other.image).max() <= 8  # OpenCV reads at 1/32 of a pixel
    for first, second in zip(one.rles, other.rles, strict=True):
        assert (rle_to_mask(first) != rle_to_mask(second)).mean() < 0.01


def test_jitter_counts_from_the_size_in_which_the_model_sees_the_image():
    assert changed(AugmentConfig(jitter=(0.5, 0.5)), 0).size == (48, 64)  # 90 × 120 is seen as 96 × 128


def test_short_sides_choose_among_sizes_without_cutting():
    found = {changed(AugmentConfig(short_sides=(60, 90)), seed).size for seed in range(20)}
    assert found == {(60, 80), (90, 120)}
    assert changed(AugmentConfig(short_sides=(60,)), 0).fitted
    assert not changed(AugmentConfig(turns=1.0, elastic=1.0), 0).fitted  # still as large as on disk


def test_shrinking_reads_every_pixel():
    board = (np.indices((200, 200)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    for config in (AugmentConfig(jitter=(0.2, 0.2)), AugmentConfig(jitter=(0.2, 0.2), rotation=20.0)):
        warp = Augmentation(config, ImageConfig(short_side=200, long_side=300)).warp((200, 200), np.random.default_rng(1))
        centre = warp_image(board, warp)[12:28, 12:28]
        assert np.abs(centre.astype(int) - 128).max() <= 12  # gray, not a coarser board


def test_rotation_is_about_the_centre_and_its_corners_get_the_padding():
    image = np.zeros((101, 101, 3), np.uint8)
    image[48:53, 88:93] = 255  # 40 to the right of the center
    turned = Augmentation(AugmentConfig(rotation=30.0, horizontal_flip=0.0), ImageConfig())
    rng = np.random.default_rng(3)
    warp = turned.warp((101, 101), rng)
    angle = math.atan2(warp.bend.matrix[1, 0], warp.bend.matrix[0, 0])
    after = warp_image(image, warp)
    white = np.argwhere(after.min(axis=2) > 200).mean(axis=0)
    np.testing.assert_allclose(white, [50 + 40 * math.sin(angle), 50 + 40 * math.cos(angle)], atol=0.5)
    assert 0.05 < abs(angle) <= math.radians(30)
    np.testing.assert_array_equal(after[0, 0], np.rint(ImageConfig().mean))
    black = Augmentation(AugmentConfig(rotation=30.0), IMAGE).warp((101, 101), np.random.default_rng(3))
    np.testing.assert_array_equal(warp_image(image + 9, black)[0, 0], [0, 0, 0])


@pytest.mark.parametrize("seed", range(4))
def test_bending_leaves_no_gap_at_the_edges(seed):
    config = AugmentConfig(horizontal_flip=0.0, elastic=1.0, elastic_shift=0.3)
    sample = coloured().replace(image=np.full((90, 120, 3), 255, np.uint8), rles=[mask_to_rle(np.ones((90, 120), bool))] * 12)
    after = changed(config, seed, sample)
    assert (after.image == 255).all()
    assert all(rle_to_mask(rle).all() for rle in after.rles)
    assert not np.array_equal(changed(config, seed).image, coloured().image)  # and yet it bends


def test_the_same_rng_gives_the_same_sample_and_another_another():
    one, same, other = (changed(GEOMETRIES["all"], seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image, same.image)
    assert one.rles == same.rles
    np.testing.assert_array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image, other.image)


def test_the_argument_is_left_alone():
    before, untouched = coloured(), coloured()
    before.image.flags.writeable = False
    for name in GEOMETRIES:
        changed(GEOMETRIES[name], 2, before)
    np.testing.assert_array_equal(before.image, untouched.image)
    np.testing.assert_array_equal(before.boxes, untouched.boxes)
    np.testing.assert_array_equal(before.crowd, untouched.crowd)
    assert before.rles == untouched.rles and before.size == untouched.size


def marked() -> Sample:
    """The disks with two keypoints each, at their centres: a left and a right one, of which the first objects have one."""
    sample = coloured()
    y, x = np.mgrid[: sample.size[0], : sample.size[1]] + 0.5
    centres = np.array([[x[mask].mean(), y[mask].mean()] for mask in map(rle_to_mask, sample.rles)], np.float32)
    keypoints = np.concatenate([np.repeat(centres[:, None], 2, axis=1), np.full((len(centres), 2, 1), 2, np.float32)], axis=2)
    keypoints[:3, 1] = 0
    return sample.replace(keypoints=keypoints, mirror=(1, 0))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_keypoints_stay_on_their_object(name):
    seen = 0
    for seed in range(8):
        sample = changed(GEOMETRIES[name], seed, marked())
        assert sample.keypoints.shape == (len(sample.labels), 2, 3)
        for number, crowd, rle, own in zip(sample.annotation_ids, sample.crowd, sample.rles, sample.keypoints):
            for x, y, visible in own[own[:, 2] > 0]:
                seen += 1
                assert visible == 2 and (crowd or rle_to_mask(rle)[int(y), int(x)]), (seed, number, x, y)
                mask = rle_to_mask(rle)
                touches = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
                if not touches and not crowd and name not in ("bent", "all", "rotated"):
                    rows, columns = np.nonzero(mask)
                    assert abs(columns.mean() + 0.5 - x) < 1 and abs(rows.mean() + 0.5 - y) < 1
    assert seen > 15


def test_a_mirror_swaps_left_and_right_and_turns_do_not():
    sample = marked()
    height, width = sample.size
    options = {"source": sample.size, "region": (0.0, 0.0, float(width), float(height)), "resized": sample.size}
    limits = {"min_visible": 0.0, "min_area": 0.0}
    for turns, mirrored in [(0, True), (2, True), (0, False), (1, False), (3, True)]:
        moved = warp_sample(sample, Warp(turns=turns, mirrored=mirrored, **options), **limits)
        empty = moved.keypoints[:3, :, 2] == 0
        np.testing.assert_array_equal(empty, [[mirrored, not mirrored]] * 3)


def test_keypoints_that_a_crop_cuts_off_are_not_marked():
    sample = marked()
    region = (30.0, 0.0, 90.0, 90.0)
    cut = warp_sample(sample, Warp(sample.size, region, (90, 60)), min_visible=0.0, min_area=1.0)
    assert len(cut.labels) and cut.keypoints.shape[0] == len(cut.labels)
    inside = cut.keypoints[cut.keypoints[..., 2] > 0]
    assert len(inside) and (inside[:, 0] <= 60).all() and not cut.keypoints[cut.keypoints[..., 2] == 0].any()
    assert (cut.keypoints[..., 2] == 0).any()
