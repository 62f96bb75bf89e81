"""Laws of a data set's description and of what it suggests."""

from __future__ import annotations

import dataclasses
import io
import json
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console
from small_data import dataset_of

from maskrcnn.config import fields, presets
from maskrcnn.config.model import AnchorConfig, ImageConfig, ModelConfig
from maskrcnn.data.dataset import load_dataset
from maskrcnn.doctor.object_sizes import best_ious, cover, measure_objects
from maskrcnn.doctor.stats import describe
from maskrcnn.doctor.suggest import suggest
from maskrcnn.reports.tables import print_stats

OCTAVES = ((32,), (64,), (128,), (256,), (512,))


def settings(dataset, **changes) -> ModelConfig:
    return fields.replace(presets.preset("mobilenet_v2_fpn", dataset.categories), **changes)


def suggested(dataset, **changes) -> dict[str, object]:
    """All that is suggested, by field."""
    return {
        name: value
        for suggestion in suggest(dataset, settings(dataset, **changes))
        for name, value in suggestion.changes.items()
    }


def test_a_description_counts_what_there_is():
    dataset = dataset_of(
        [[0, 0, 1], [], [1], []],
        num_classes=3,
        crowds=[[], [], [2], [0]],
        sides=[(20, 20), (1, 1), (40, 90), (500, 500)],
        sizes=[(256, 512), (512, 512), (512, 1024), (1024, 512)],
    )
    stats = describe(dataset, settings(dataset))
    assert (stats.images, stats.empty_images, stats.objects, stats.crowds) == (4, 1, 4, 2)
    assert [dataclasses.astuple(row) for row in stats.classes] == [("c0", 2, 1, 1), ("c1", 2, 2, 0), ("c2", 0, 0, 1)]
    assert stats.heights == (256, 512, 1024) and stats.widths == (512, 512, 1024)
    assert stats.objects_per_image == {"median": 0.5, "p95": pytest.approx(2.7), "max": 3}
    assert stats.area_shares == {"small": 0.75, "medium": 0.25, "large": 0}


def test_objects_are_measured_as_the_model_sees_them():
    """An image of 256 × 400 is doubled, one of 1024 × 2048 shrinks until its long side fits."""
    dataset = dataset_of([[0], [0]], num_classes=1, sides=[(10, 20), (240, 60)], sizes=[(256, 400), (1024, 2048)])
    image = ImageConfig(short_side=512, long_side=853)
    np.testing.assert_allclose(measure_objects(dataset).in_frame(image), [[20, 40], [100, 25]], rtol=2e-3)
    sides = describe(dataset, settings(dataset)).sides
    assert sides["size"]["p5"] < sides["size"]["p50"] == pytest.approx((800**0.5 + 50) / 2, rel=1e-2)
    assert sides["height / width"]["p95"] == pytest.approx(0.25 + 0.95 * 1.75, rel=1e-2)


def test_an_anchor_of_the_object_s_own_sides_covers_it_all():
    anchors = AnchorConfig()
    own = np.array([[size / ratio**0.5, size * ratio**0.5] for (size,) in anchors.sizes for ratio in anchors.ratios])
    np.testing.assert_allclose(dataclasses.astuple(cover(own, anchors)), 1)
    half = cover(np.array([[32.0, 32.0], [16.0, 16.0], [24.0, 24.0]]), AnchorConfig(sizes=OCTAVES, ratios=(1.0,)))
    assert dataclasses.astuple(half) == pytest.approx(((1 + 1 / 4 + 9 / 16) / 3, 2 / 3, 1 / 3))


def test_best_ious_are_those_of_concentric_boxes():
    rng = np.random.default_rng(0)
    sides, sizes, ratios = rng.uniform(5, 100, (20, 2)), (16, 40), (0.5, 1.0, 3.0)
    for (width, height), answer in zip(sides, best_ious(sides, sizes, ratios), strict=True):
        ious = []
        for size in sizes:
            for ratio in ratios:
                other_width, other_height = size / ratio**0.5, size * ratio**0.5
                shared = min(width, other_width) * min(height, other_height)
                ious.append(shared / (width * height + other_width * other_height - shared))
        assert answer == pytest.approx(max(ious))


def test_data_that_fits_gets_no_suggestion():
    dataset = dataset_of([[0, 1], [1, 0], [0]], num_classes=2, sides=[(40, 40), (64, 64), (130, 120)])
    assert suggest(dataset, settings(dataset)) == ()


def test_small_objects_ask_for_larger_images_until_they_are_16_pixels():
    for side in (10.0, 12.0):
        dataset = dataset_of([[0], [0]], num_classes=1, sides=(side, side))
        changes = suggested(dataset)
        assert changes["image__short_side"] * side / 512 >= 16 > (changes["image__short_side"] - 32) * side / 512
        assert changes["image__short_side"] % 32 == 0
        assert changes["image__long_side"] == round(changes["image__short_side"] * 5 / 3)
    tiny = suggest(dataset_of([[0]], num_classes=1, sides=(2.0, 2.0)), settings(dataset))[0]
    assert tiny.changes["image__short_side"] == 1024 and "tiles" in tiny.reason
    assert "image__short_side" not in suggested(dataset_of([[0]], num_classes=1, sides=(15.0, 15.0)))


def test_small_images_of_large_objects_are_not_enlarged_for_nothing():
    dataset = dataset_of([[0], [0]], num_classes=1, sides=(30.0, 30.0), sizes=[(100, 100)] * 2)
    assert suggested(dataset)["image__short_side"] == 224
    small = dataset_of([[0], [0]], num_classes=1, sides=(5.0, 5.0), sizes=[(100, 100)] * 2)
    assert suggested(small)["image__short_side"] == 320  # 5 pixels become 16 only there


def test_long_images_get_a_long_side():
    dataset = dataset_of([[0]] * 4, num_classes=1, sides=(60.0, 60.0), sizes=[(512, 512), (512, 512), (512, 512), (512, 1100)])
    long_side = suggested(dataset)["image__long_side"]
    assert 853 < long_side <= 1120 and long_side % 32 == 0


@pytest.mark.parametrize(("side", "smallest"), [(17.0, 16), (300.0, 32)])
def test_anchors_are_suggested_where_they_cover_clearly_more(side, smallest):
    dataset = dataset_of([[0]], num_classes=1, sides=(side, side))
    sizes = suggested(dataset).get("anchors__sizes", OCTAVES)
    assert sizes[0] == (smallest,) and all(after == 2 * before for (before,), (after,) in pairwise(sizes))
    before, after = (cover(np.array([[side, side]]), AnchorConfig(sizes=each)) for each in (OCTAVES, sizes))
    assert after.mean_iou >= before.mean_iou


def test_of_anchors_that_fit_alike_those_nearest_to_the_present_ones_are_taken():
    """Objects of 48 pixels fit anchors from 12, 24 and 48 up, which all hold 48."""
    dataset = dataset_of([[0]], num_classes=1, sides=(48.0, 48.0))
    sizes = ((8,), (16,), (200,), (400,), (800,))
    assert suggested(dataset, anchors__sizes=sizes)["anchors__sizes"][0] == (12,)
    assert suggested(dataset, anchors__sizes=((300,), (400,), (500,), (600,), (700,)))["anchors__sizes"][0] == (48,)


def test_elongated_objects_get_elongated_anchors():
    standing = dataset_of([[0, 0]], num_classes=1, sides=(20.0, 100.0))
    lying = dataset_of([[0, 0]], num_classes=1, sides=(100.0, 20.0))
    assert min(abs(ratio - 5) for ratio in suggested(standing)["anchors__ratios"]) < 1.1
    assert min(abs(1 / ratio - 5) for ratio in suggested(lying)["anchors__ratios"]) < 1.1


def test_anchors_are_chosen_for_the_suggested_image_size():
    changes = suggested(dataset_of([[0]], num_classes=1, sides=(8.0, 8.0)))
    assert changes["image__short_side"] == 1024  # where 8 pixels become 16
    assert changes["anchors__sizes"][0] == (16,)


def test_the_suggestions_together_cover_better_than_the_settings_did():
    rng = np.random.default_rng(0)
    sides = [tuple(pair) for pair in rng.uniform(6, 20, (40, 2))]
    dataset = dataset_of([[0]] * 40, num_classes=1, sides=sides)
    before = settings(dataset)
    after = fields.replace(before, **suggested(dataset))
    objects = measure_objects(dataset)
    one, other = (cover(objects.in_frame(config.image), config.anchors) for config in (before, after))
    assert other.mean_iou > one.mean_iou + 0.05 and other.over_50 > one.over_50
    assert not suggest(dataset, after)  # and nothing is left to say


def test_full_images_ask_for_detections_and_proposals():
    changes = suggested(dataset_of([[0] * 375, [0]], num_classes=1, sides=(40.0, 40.0)))
    assert changes["detect__max_detections"] == 450
    assert changes["rpn__proposals"] == changes["rpn__top_k"] == 1200
    assert changes["rpn__train_proposals"] == changes["rpn__train_top_k"] == 1200
    assert "detect__candidates" not in changes
    most = suggested(dataset_of([[0] * 5000], num_classes=1, sides=(40.0, 40.0)))
    assert (most["detect__max_detections"], most["detect__candidates"], most["rpn__proposals"]) == (1000, 2000, 2000)
    assert not suggested(dataset_of([[0] * 80], num_classes=1, sides=(40.0, 40.0)))


def test_uneven_classes_ask_for_weights_and_rare_images_for_repeats():
    beside = dataset_of([[0] * 30 + [1]] * 3, num_classes=3, sides=(40.0, 40.0))
    (weights,) = suggest(beside, settings(beside))
    assert weights.arguments == "--class-weights balanced" and "'c0' has 90 objects, 'c1' 3" in weights.reason
    assert fields.replace(settings(beside), **weights.changes).box_head.class_weights[0] < 1
    apart = dataset_of([[0]] * 30 + [[0, 1]] * 4 + [[2]], num_classes=3, sides=(40.0, 40.0))
    found = [suggestion.arguments for suggestion in suggest(apart, settings(apart))]
    assert found == ["--class-weights balanced", "--repeat-threshold 0.11"]


def test_a_data_set_without_objects_is_described_all_the_same():
    dataset = dataset_of([[], []], num_classes=2)
    stats = describe(dataset, settings(dataset))
    assert stats.coverage is None and not stats.sides and not stats.suggestions
    assert "no objects to measure" in printed(stats)


def printed(stats) -> str:
    text = io.StringIO()
    print_stats(stats, Console(file=text, width=150))
    return text.getvalue()


def test_a_description_can_be_printed_and_written_as_json():
    dataset = dataset_of([[0] * 300, [1]], num_classes=2, sides=(9.0, 9.0))
    stats = describe(dataset, settings(dataset))
    text = printed(stats)
    for words in ("2 images", "301 objects", "c1", "--set detect.max_detections=400", "--image-size"):
        assert words in text
    assert json.loads(json.dumps(dataclasses.asdict(stats), allow_nan=False))["classes"][0]["objects"] == 300


def test_real_nuclei_get_small_anchors_and_room(shared_data):
    dataset = load_dataset(shared_data / "nuclei" / "val.json", verify_images=False)
    changes = suggested(dataset)
    assert changes["anchors__sizes"][0] in ((8,), (12,), (16,))
    assert changes["detect__max_detections"] >= describe(dataset, settings(dataset)).objects_per_image["max"]
