"""Laws of RoIAlign and of the choice of levels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import roi_align as reference
from references import samples
from tensors import compute, gradient

from maskrcnn.ops.native import KERNELS, PORTABLE
from maskrcnn.ops.roi_align import assign_levels, roi_align

LEVELS = {"canonical_size": 224.0, "canonical_level": 4, "min_level": 2, "max_level": 5}
# Both ways through the op, where the backend has a kernel of its own.
WAYS = [PORTABLE, KERNELS] if KERNELS.pool_levels is not PORTABLE.pool_levels else [PORTABLE]
CONVENTIONS = [(aligned, ratio) for aligned in (True, False) for ratio in (1, 2, 3)]


def pool(features, boxes, **options) -> np.ndarray:
    """(N, 4) boxes on one image, or (B, N, 4) on several."""
    features = features if isinstance(features, list) else [features]
    boxes = boxes if boxes.ndim == 3 else boxes[None]
    return compute(roi_align, features, boxes.astype(np.float32), **options)


def pyramid(seed: int, images: int = 2, height: int = 96, width: int = 160, channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(images, height >> i, width >> i, channels)).astype(np.float32) for i in (2, 3, 4, 5)]


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
@pytest.mark.parametrize(("aligned", "sampling_ratio"), CONVENTIONS)
def test_roi_align_is_the_mean_of_bilinear_samples(kernels, aligned, sampling_ratio):
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(2, 8, 11, 3)).astype(np.float32)
    boxes = np.stack([np.concatenate([samples.boxes(rng, 8, side=80, most=70), samples.DEGENERATE]) for _ in range(2)])
    boxes[:, -4] = [-20, -9, 100, 75]  # instead of the huge box: samples beyond every edge
    options = {"pool_size": 3, "sampling_ratio": sampling_ratio, "aligned": aligned}
    answer = pool(feature, boxes, strides=(8,), kernels=kernels, **options)
    for image in range(2):
        for row, box in enumerate(boxes[image]):
            expected = reference.roi_align(feature[image], box, 8.0, **options)
            np.testing.assert_allclose(answer[image, row], expected, rtol=1e-4, atol=2e-5, err_msg=f"box {box}")


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
@pytest.mark.parametrize(("aligned", "sampling_ratio"), CONVENTIONS)
def test_roi_align_equals_torchvision(golden, kernels, aligned, sampling_ratio):
    options = {"strides": (8,), "pool_size": 4, "sampling_ratio": sampling_ratio, "aligned": aligned, "kernels": kernels}
    answer = pool(golden["roi_align_feature"], golden["roi_align_boxes"], **options)
    expected = golden[f"roi_align_{'aligned' if aligned else 'not_aligned'}_{sampling_ratio}"]
    np.testing.assert_allclose(answer[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_pooling_over_levels_equals_torchvision(golden, kernels):
    features = [golden[f"pyramid_{level}"].astype(np.float32) for level in (2, 3, 4, 5)]
    options = {"strides": (4, 8, 16, 32), "pool_size": 3, "sampling_ratio": 2, "aligned": False, "kernels": kernels}
    answer = pool(features, golden["pyramid_boxes"], **options)
    np.testing.assert_allclose(answer[0], golden["pyramid_pooled"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_every_box_is_pooled_from_its_own_level_of_its_own_image(kernels):
    features = pyramid(1)
    rng = np.random.default_rng(1)
    boxes = np.stack([samples.boxes(rng, 8, side=100, least=3, most=150) for _ in range(2)])
    levels = {"canonical_size": 56.0, "canonical_level": 4}  # so that a small frame fills all levels
    options = {"pool_size": 2, "sampling_ratio": 2, "aligned": True}
    answer = pool(features, boxes, strides=(4, 8, 16, 32), kernels=kernels, **options, **levels)
    seen = set()
    for image in range(2):
        for row, box in enumerate(boxes[image]):
            level = reference.assign_level(box, **levels, min_level=2, max_level=5)
            seen.add(level)
            expected = reference.roi_align(features[level - 2][image], box, 2.0**level, **options)
            np.testing.assert_allclose(answer[image, row], expected, rtol=1e-4, atol=2e-5)
    assert seen == {2, 3, 4, 5}


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
@pytest.mark.parametrize(("aligned", "sampling_ratio"), CONVENTIONS)
def test_a_constant_map_is_constant_inside(kernels, aligned, sampling_ratio):
    boxes = np.array([[8, 8, 60, 50], [0, 0, 88, 64], [20, 20, 20, 20], [-3, -3, 30, 30]], np.float32)
    options = {"strides": (8,), "pool_size": 3, "sampling_ratio": sampling_ratio, "aligned": aligned, "kernels": kernels}
    np.testing.assert_allclose(pool(np.full((1, 8, 11, 1), 2.5, np.float32), boxes, **options), 2.5, rtol=1e-5)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
@pytest.mark.parametrize(("aligned", "sampling_ratio"), CONVENTIONS)
def test_a_linear_ramp_is_exact_at_the_centres_of_bins(kernels, aligned, sampling_ratio):
    y, x = np.mgrid[:16, :20].astype(np.float32)
    box, stride, side = np.array([16.4, 20.2, 100.6, 77.8]), 8, 3
    options = {"strides": (stride,), "pool_size": side, "sampling_ratio": sampling_ratio, "aligned": aligned}
    answer = pool((3 * x - 2 * y)[None, ..., None], box[None], kernels=kernels, **options)[0, 0, ..., 0]
    shift = 0.5 if aligned else 0.0
    centre_x = (box[0] + (np.arange(side) + 0.5) / side * (box[2] - box[0])) / stride - shift
    centre_y = (box[1] + (np.arange(side) + 0.5) / side * (box[3] - box[1])) / stride - shift
    np.testing.assert_allclose(answer, 3 * centre_x[None] - 2 * centre_y[:, None], rtol=1e-5)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_moving_box_and_map_by_a_pixel_changes_nothing(kernels):
    feature = pyramid(2, images=1)[1]
    boxes = samples.boxes(np.random.default_rng(2), 6, side=30) + 30
    options = {"strides": (8,), "pool_size": 3, "sampling_ratio": 2, "aligned": True, "kernels": kernels}
    plain = pool(feature, boxes, **options)
    moved = pool(np.roll(feature, (1, 2), axis=(1, 2)), boxes + np.array([16, 8, 16, 8], np.float32), **options)
    np.testing.assert_allclose(moved, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_a_box_far_outside_sees_nothing(kernels):
    boxes = np.array([[-80, -80, -30, -30], [500, 10, 540, 40], [10, 500, 40, 540], [1e6, 1e6, 2e6, 2e6]], np.float32)
    for aligned in (True, False):
        options = {"strides": (8,), "pool_size": 2, "sampling_ratio": 2, "aligned": aligned, "kernels": kernels}
        np.testing.assert_array_equal(pool(np.ones((1, 8, 11, 1), np.float32), boxes, **options), 0.0)


def test_levels_are_those_of_the_paper():
    rng = np.random.default_rng(3)
    sides = np.concatenate([np.exp(rng.uniform(0, 8, 200)), [111.9, 112.1, 223.9, 224.1, 447.9, 448.1]]).astype(np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides * 2, sides / 2], axis=1)
    boxes = np.concatenate([boxes, samples.DEGENERATE])
    answer = compute(assign_levels, boxes, **LEVELS)
    np.testing.assert_array_equal(answer, [reference.assign_level(box, **LEVELS) for box in boxes])


@pytest.mark.parametrize(("side", "level"), [(1, 2), (111, 2), (112, 3), (223, 3), (224, 4), (447, 4), (448, 5), (2000, 5)])
def test_a_box_of_224_pixels_is_pooled_from_p4(side, level):
    box = np.array([[16, 32, 16 + side, 32 + side]], np.float32)
    assert compute(assign_levels, box, **LEVELS) == [level]


def test_levels_equal_torchvision(golden):
    levels = compute(assign_levels, golden["pyramid_boxes"], **LEVELS)
    np.testing.assert_array_equal(levels, golden["pyramid_levels"])


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_the_gradient_spreads_what_pooling_gathered(kernels):
    """Pooling is linear in the map, so ⟨weights, pool(other)⟩ = ⟨gradient of ⟨weights, pool(·)⟩, other⟩ for any other map."""
    rng = np.random.default_rng(4)
    feature, other = rng.normal(size=(2, 1, 8, 11, 2)).astype(np.float32)
    boxes = np.concatenate([samples.boxes(rng, 6, side=80, most=70), samples.DEGENERATE])[None]
    options = {"strides": (8,), "pool_size": 3, "sampling_ratio": 2, "kernels": kernels}
    weights = rng.normal(size=(1, boxes.shape[1], 3, 3, 2)).astype(np.float32)
    tensors = [keras.ops.convert_to_tensor(array) for array in (boxes, weights)]
    slope = gradient(lambda f: keras.ops.sum(tensors[1] * roi_align([f], tensors[0], **options)), feature)
    assert np.isfinite(slope).all()
    pooled = pool(other, boxes, **options)
    np.testing.assert_allclose(np.sum(slope * other, dtype=float), np.sum(weights * pooled, dtype=float), rtol=1e-4)


def test_no_gradient_reaches_the_boxes():
    feature = keras.ops.convert_to_tensor(pyramid(5, images=1)[1])
    boxes = samples.boxes(np.random.default_rng(5), 4)[None]
    slope = gradient(lambda b: keras.ops.sum(roi_align([feature], b, strides=(8,), pool_size=2, kernels=PORTABLE)), boxes)
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
@pytest.mark.parametrize("aligned", [True, False])
def test_without_a_ratio_a_bin_has_a_sample_a_feature_pixel(golden, kernels, aligned):
    """As detectron2, none where a box has no area. The largest box is 31.25 feature pixels wide: 8 samples a bin."""
    options = {"strides": (8,), "pool_size": 4, "sampling_ratio": 0, "aligned": aligned, "kernels": kernels}
    answer = pool(golden["roi_align_feature"], golden["roi_align_boxes"], **options)
    expected = golden[f"roi_align_{'aligned' if aligned else 'not_aligned'}_0"]
    np.testing.assert_allclose(answer[0], expected, atol=1e-5)
    area = np.prod(golden["roi_align_boxes"][:, 2:] - golden["roi_align_boxes"][:, :2], axis=1)
    assert (area == 0).any()
    assert aligned == (not answer[0][area == 0].any())


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_bins_of_just_so_many_pixels_have_so_many_samples(kernels):
    """Lengths that are multiples of the bins, where division by 7 may be a product, and boxes far longer than high."""
    rng = np.random.default_rng(6)
    feature = rng.normal(size=(1, 40, 90, 2)).astype(np.float32)
    boxes = np.array([[0, 0, 8 * 7 * n, 8 * 7 * m] for n, m in [(1, 1), (2, 3), (3, 2), (5, 1), (6, 4), (12, 5)]], np.float32)
    boxes = np.concatenate([boxes, [[3, 40, 700, 44], [80, 1, 83, 310], [10, 10, 10, 200], [10, 50, 200, 50]]])
    options = {"pool_size": 7, "sampling_ratio": 0, "aligned": True}
    expected = [reference.roi_align(feature[0], box, 8, **options) for box in boxes]
    answer = pool(feature, boxes, strides=(8,), **options, kernels=kernels)[0]
    np.testing.assert_allclose(answer, expected, atol=2e-5)
    assert not answer[-2:].any()


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_without_a_ratio_the_gradient_spreads_what_pooling_gathered(kernels):
    if kernels is PORTABLE and keras.backend.backend() == "jax":
        pytest.skip("XLA differentiates no loop of unknown length; JAX's own kernel says itself how")
    rng = np.random.default_rng(8)
    feature, other = rng.normal(size=(2, 1, 8, 11, 2)).astype(np.float32)
    boxes = np.concatenate([samples.boxes(rng, 6, side=80, most=70), samples.DEGENERATE[:5]])[None]
    options = {"strides": (8,), "pool_size": 3, "sampling_ratio": 0, "kernels": kernels}
    weights = rng.normal(size=(1, boxes.shape[1], 3, 3, 2)).astype(np.float32)
    tensors = [keras.ops.convert_to_tensor(array) for array in (boxes, weights)]
    slope = gradient(lambda f: keras.ops.sum(tensors[1] * roi_align([f], tensors[0], **options)), feature)
    assert np.abs(slope).max() > 0.1
    pooled = pool(other, boxes, **options)
    np.testing.assert_allclose(np.sum(slope * other, dtype=float), np.sum(weights * pooled, dtype=float), rtol=1e-4)


@pytest.mark.parametrize("kernels", WAYS, ids=lambda way: "portable" if way is PORTABLE else "own")
def test_crop_and_resize_samples_corner_to_corner_on_the_nearest_level(kernels):
    maps, frame = pyramid(7), (96, 160)
    rng = np.random.default_rng(7)
    sides = np.exp(rng.uniform(np.log(2), np.log(94), (2, 20, 2)))
    corners = rng.uniform(0, 1, (2, 20, 2)) * (np.array([159, 95]) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=2).clip(0, [159, 95, 159, 95])
    options = {"pool_size": 3, "mode": "crop_and_resize", "canonical_size": 40.0, "level_epsilon": 0.0, "level_shift": 0.5}
    answer = pool(maps, boxes, strides=(4, 8, 16, 32), **options, kernels=kernels)
    for image in range(2):
        for row, box in enumerate(boxes[image]):
            area = (box[2] - box[0]) / 159 * (box[3] - box[1]) / 95  # of the frame
            level = int(np.clip(np.round(4 + np.log2(np.sqrt(area * 96 * 160) / 40)), 2, 5))
            expected = reference.crop_and_resize(maps[level - 2][image], box, frame, pool_size=3)
            np.testing.assert_allclose(answer[image, row], expected, atol=1e-4)


def test_the_shift_and_the_epsilon_move_where_a_level_begins():
    boxes = np.array([[0, 0, side, side] for side in (223.99, 158.5, 158.3)], np.float32)
    assert list(compute(assign_levels, boxes, **LEVELS)) == [3, 3, 3]
    assert list(compute(assign_levels, boxes, **LEVELS, level_epsilon=0.0, level_shift=1e-3)) == [4, 3, 3]
    assert list(compute(assign_levels, boxes, **LEVELS, level_epsilon=1e-3)) == [4, 3, 3]
    assert list(compute(assign_levels, boxes, **LEVELS, level_shift=0.5)) == [4, 4, 3]  # 158.4 is 224 / sqrt(2)
