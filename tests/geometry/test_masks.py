"""Laws of masks as bitmaps, run lengths, polygons and small grids."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from references import masks as reference

from maskrcnn.geometry import masks, paste, polygons
from maskrcnn.geometry.rle import (
    cutout_rle,
    flip_rle,
    mask_to_rle,
    polygons_to_rle,
    rle_area,
    rle_from_json,
    rle_region,
    rle_to_box,
    rle_to_json,
    rle_to_mask,
)

BOXES = [
    (2.0, 3.0, 17.0, 14.0),
    (2.3, 3.7, 17.9, 14.1),
    (-6.5, -4.2, 9.3, 8.8),
    (11.0, 8.4, 40.0, 33.3),
    (-10.0, -10.0, 50.0, 50.0),
    (4.2, 4.6, 5.1, 5.4),
    (7.6, 0.0, 7.9, 20.0),
]
SIZE = (20, 24)
GOLDEN = Path(__file__).parents[1] / "golden" / "torchvision_paste.npz"


def random_mask(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Blobs rather than noise: (H, W) bool."""
    return cv2.GaussianBlur(rng.random(size), (5, 5), 0) > 0.5


def without_holes(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, -1).astype(bool)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("side", [1, 7, 28])
def test_paste_is_the_bilinear_sample_at_every_pixel_centre(box, side):
    small = np.random.default_rng(side).random((side, side)).astype(np.float32)
    out = np.zeros(SIZE, bool)
    paste.paste(small, np.array(box, np.float32), out=out)
    np.testing.assert_array_equal(out, reference.paste(small, np.array(box, np.float32), SIZE))


def test_paste_of_ones_fills_exactly_the_pixels_whose_centres_are_in_the_box():
    out = np.zeros(SIZE, bool)
    paste.paste(np.ones((28, 28), np.float32), np.array([3, 5, 10, 9]), out=out)
    expected = np.zeros(SIZE, bool)
    expected[5:9, 3:10] = True
    np.testing.assert_array_equal(out, expected)


def test_paste_leaves_what_is_outside_of_the_box():
    out = np.ones(SIZE, bool)
    paste.paste(np.zeros((28, 28), np.float32), np.array([3, 5, 10, 9]), out=out)
    assert not out[5:9, 3:10].any()
    assert out.sum() == out.size - 4 * 7


@pytest.mark.parametrize(
    "box", [(3, 3, 3, 9), (3, 9, 8, 9), (8, 3, 3, 9), (-9, -9, -1, -1), (30, 3, 40, 9), (0, 25, 9, 31), (np.nan, 0, 5, 5)]
)
def test_paste_of_a_box_without_area_or_outside_of_the_image_writes_nothing(box):
    out = np.zeros(SIZE, bool)
    paste.paste(np.ones((28, 28), np.float32), np.array(box, np.float32), out=out)
    assert not out.any()


@pytest.mark.parametrize("how", ["exact", "torchvision"])
@pytest.mark.parametrize("box", BOXES)
def test_a_pasted_window_put_back_is_what_paste_writes(box, how):
    small = np.random.default_rng(3).random((28, 28)).astype(np.float32)
    out = np.zeros(SIZE, bool)
    paste.paste(small, np.array(box, np.float32), out=out, how=how)
    cutout, corner = paste.paste_cutout(small, np.array(box, np.float32), SIZE, how=how)
    assert cutout_rle(cutout, corner, SIZE) == mask_to_rle(out)


def test_paste_of_torchvisions_way_is_torchvisions():
    golden = np.load(GOLDEN)
    size = tuple(golden["size"])
    expected = np.unpackbits(golden["pasted"], axis=-1, count=size[1]).astype(bool)
    differs_from_exact = 0
    for small, box, theirs in zip(golden["small"].astype(np.float32), golden["boxes"], expected, strict=True):
        out, exact = np.zeros(size, bool), np.zeros(size, bool)
        paste.paste(small, box, out=out, how="torchvision")
        np.testing.assert_array_equal(out, theirs)
        paste.paste(small, box, out=exact)
        differs_from_exact += not np.array_equal(out, exact)
    assert differs_from_exact > len(expected) / 2


def test_paste_of_torchvisions_way_writes_whole_pixels_around_the_box():
    out = np.zeros(SIZE, bool)
    paste.paste(np.ones((14, 14), np.float32), np.array([4, 5, 18, 12]), out=out, how="torchvision")
    expected = np.zeros(SIZE, bool)  # enlarged by 16 / 14: 3 … 19 and 4.5 … 12.5; cut: 17 pixels from 3, 9 from 4
    expected[5:12, 4:19] = True  # the cells of zeros fade out in the first and last pixel
    np.testing.assert_array_equal(out, expected)


def test_paste_onto_whole_pixels_is_scikit_images_resize_into_the_box():
    """matterport's `unmold_mask`. No cell below 0.5 is left out: there scikit-image lifts the border to the least cell."""
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is not installed")
    rng = np.random.default_rng(7)
    for left, top, right, bottom in [(2, 3, 17, 14), (0, 0, 24, 20), (5, 5, 6, 6), (0, 19, 24, 20), (7, 1, 9, 20)]:
        small = rng.random((28, 28)).astype(np.float32)
        theirs = np.zeros(SIZE, bool)
        resized = transform.resize(small, (bottom - top, right - left), order=1, mode="constant", anti_aliasing=False)
        theirs[top:bottom, left:right] = resized >= 0.5
        out = np.zeros(SIZE, bool)
        paste.paste(small, np.array([left, top, right, bottom]), out=out)
        np.testing.assert_array_equal(out, theirs)


def test_rle_undoes_mask():
    mask = random_mask(np.random.default_rng(0))
    rle = mask_to_rle(mask)
    assert rle["size"] == list(SIZE)
    decoded = rle_to_mask(rle)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)
    np.testing.assert_array_equal(rle_to_mask(mask_to_rle(mask.astype(np.uint8) * 255)), mask)
    assert rle_area(rle) == mask.sum()


def test_json_undoes_rle():
    rle = mask_to_rle(random_mask(np.random.default_rng(1)))
    written = rle_to_json(rle)
    assert isinstance(written["counts"], str)
    assert rle_from_json(written, SIZE) == rle


def test_the_three_forms_of_a_segmentation_give_one_mask():
    mask = np.zeros((6, 8), bool)
    mask[2:5, 1:4] = True
    rle = mask_to_rle(mask)
    assert rle_from_json({"size": [6, 8], "counts": [8, 3, 3, 3, 3, 3, 25]}, (6, 8)) == rle
    assert rle_from_json({"size": [6, 8], "counts": rle["counts"].decode()}, (6, 8)) == rle
    assert rle_from_json([[1, 2, 4, 2, 4, 5, 1, 5]], (6, 8)) == rle


def test_several_polygons_are_their_union():
    rle = polygons_to_rle([[0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 6, 2, 6, 6, 2, 6]], (8, 8))
    assert rle_area(rle) == 16 + 16 - 4


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "at least one polygon"),
        ([[1, 2, 3, 4]], "3 points; received 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "3 points; received 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
        ([[1, 2, 3, 4, 5, 10**400]], "flat list of x, y numbers"),
        ([["a", "b"] * 3], "flat list of x, y numbers"),
        ([{}], "flat list of x, y numbers"),
        ("polygon", "received 'polygon'"),
        (None, "received None"),
        ({"counts": "32;"}, "size and counts"),
        ({"size": [4, 5], "counts": "32;"}, r"\[4, 4\]; received \[4, 5\]"),
        ({"size": [4, 4], "counts": None}, "received None"),
        ({"size": [4, 4], "counts": [3, -2, 15]}, "from 0 to 16"),
        ({"size": [4, 4], "counts": [3.5, 12.5]}, "from 0 to 16"),
        ({"size": [4, 4], "counts": [3, 16, 1]}, "cannot be read"),
        ({"size": [4, 4], "counts": [3, 2]}, "end before"),
        ({"size": [4, 4], "counts": "32"}, "end before"),
        ({"size": [4, 4], "counts": "!!"}, "cannot be read"),
        ({"size": [4, 4], "counts": "\ud800"}, "cannot be read"),
    ],
)
def test_a_broken_segmentation_is_refused_in_one_line(segmentation, words):
    with pytest.raises(ValueError, match=words) as error:
        rle_from_json(segmentation, (4, 4))
    assert "\n" not in str(error.value)


def test_polygons_of_a_mask_without_holes_give_the_mask_again():
    rng = np.random.default_rng(5)
    for _ in range(50):
        mask = without_holes(random_mask(rng, (int(rng.integers(1, 30)), int(rng.integers(1, 30)))))
        outlines = polygons.mask_to_polygons(mask)
        assert all(outline.dtype == np.float32 and len(outline) >= 4 for outline in outlines)
        if mask.any():
            np.testing.assert_array_equal(rle_to_mask(polygons_to_rle(outlines, mask.shape)), mask)
        else:
            assert outlines == []


def test_the_outline_of_one_pixel_is_its_square():
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    (outline,) = polygons.mask_to_polygons(mask)
    assert {tuple(corner) for corner in outline.tolist()} == {(3, 2), (4, 2), (4, 3), (3, 3)}


def test_every_part_of_a_mask_has_its_own_outline():
    mask = np.zeros((9, 9), bool)
    mask[1:3, 1:3] = mask[5:8, 4:9] = True
    assert len(polygons.mask_to_polygons(mask)) == 2


def test_the_box_of_a_mask_is_the_smallest_around_it():
    mask = np.zeros(SIZE, bool)
    mask[3, 5] = mask[7, 11] = True
    np.testing.assert_array_equal(masks.mask_to_box(mask), [5, 3, 12, 8])
    np.testing.assert_array_equal(rle_to_box(mask_to_rle(mask)), [5, 3, 12, 8])


def test_the_box_of_an_empty_mask_is_zeros():
    np.testing.assert_array_equal(masks.mask_to_box(np.zeros(SIZE, bool)), np.zeros(4))
    np.testing.assert_array_equal(rle_to_box(mask_to_rle(np.zeros(SIZE, bool))), np.zeros(4))


def test_flipping_a_mask_twice_changes_nothing():
    mask = random_mask(np.random.default_rng(2))
    flipped = flip_rle(mask_to_rle(mask))
    np.testing.assert_array_equal(rle_to_mask(flipped), mask[:, ::-1])
    assert flip_rle(flipped) == mask_to_rle(mask)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("side", [3, 8])
def test_a_cell_of_a_cropped_mask_is_set_where_half_of_its_area_is_mask(box, side):
    mask = random_mask(np.random.default_rng(side))
    covered = reference.crop(mask, np.array(box, np.float32), side)
    cropped = masks.crop_mask(mask_to_rle(mask), np.array(box, np.float32), side)
    assert cropped.dtype == np.uint8
    sure = np.abs(covered - 0.5) > 1e-4
    np.testing.assert_array_equal(cropped[sure], covered[sure] > 0.5)


def test_a_mask_cropped_to_its_own_size_is_itself():
    mask = random_mask(np.random.default_rng(4), (14, 14))
    np.testing.assert_array_equal(masks.crop_mask(mask_to_rle(mask), np.array([0, 0, 14, 14]), 14), mask)


def test_paste_undoes_crop_of_an_object_smaller_than_the_grid():
    mask = np.zeros((40, 40), bool)
    mask[4:30, 6:33] = random_mask(np.random.default_rng(6), (26, 27))
    box = masks.mask_to_box(mask)
    small = masks.crop_mask(mask_to_rle(mask), box, 112).astype(np.float32)
    out = np.zeros(mask.shape, bool)
    paste.paste(small, box, out=out)
    assert (out & mask).sum() / (out | mask).sum() > 0.99


@pytest.mark.parametrize("box", [(3, 3, 3, 9), (8, 3, 3, 9), (-9, -9, -1, -1), (24, 3, 40, 9), (np.nan, 0, 5, 5)])
def test_a_mask_cropped_to_a_box_without_area_or_outside_is_empty(box):
    cropped = masks.crop_mask(mask_to_rle(np.ones(SIZE, bool)), np.array(box, np.float32), 28)
    np.testing.assert_array_equal(cropped, np.zeros((28, 28)))


@pytest.mark.parametrize("region", [(5, 12, 3, 20), (0, 20, 0, 24), (0, 20, 2, 9), (13, 20, 23, 24), (4, 4, 3, 20)])
@pytest.mark.parametrize("full", [False, True])
def test_a_region_put_back_is_the_mask(region, full):
    top, bottom, left, right = region
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = full or np.random.default_rng(1).random((bottom - top, right - left)) > 0.5
    assert cutout_rle(mask[top:bottom, left:right], (left, top), SIZE) == mask_to_rle(mask)


def test_a_window_of_an_image_too_large_for_a_bitmap():
    rle = cutout_rle(np.ones((3, 2), bool), (29_998, 99_997), (100_000, 30_000))
    assert rle_area(rle) == 6
    np.testing.assert_array_equal(rle_to_box(rle), [29_998, 99_997, 30_000, 100_000])


def test_coverage_is_each_cells_part_of_mask():
    mask = random_mask(np.random.default_rng(2))
    box = np.array([2.3, 3.7, 17.9, 14.1], np.float32)
    covered = masks.coverage(mask_to_rle(mask), box, (14, 14))
    np.testing.assert_allclose(covered, reference.crop(mask, box, 14), atol=1e-6)
    assert masks.coverage(mask_to_rle(mask), box, (3, 9)).shape == (3, 9)
    np.testing.assert_array_equal(masks.coverage(mask_to_rle(mask), np.array([0, 0, 24, 20]), SIZE), mask)


def test_a_region_of_a_mask_is_that_part_of_its_bitmap():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 0.98, 1.0) * 60:
        height, width = rng.integers(1, 40, 2).tolist()
        mask = rng.random((height, width)) < density
        left, right = np.sort(rng.integers(0, width + 1, 2)).tolist()
        top, bottom = np.sort(rng.integers(0, height + 1, 2)).tolist()
        seen, area = rle_region(mask_to_rle(mask), (left, top, right, bottom))
        np.testing.assert_array_equal(seen, mask[top:bottom, left:right])
        assert area == mask.sum()
