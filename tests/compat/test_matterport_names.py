"""Names of matterport's utils, visualize and model that scripts import: what they answer, or what they say instead."""

from __future__ import annotations

import numpy as np
import pytest

import maskrcnn.compat.matterport as mrcnn
from maskrcnn.compat.matterport import modellib, utils, visualize
from maskrcnn.compat.matterport.config import Config

RNG = np.random.default_rng(0)


class Numbers(Config):
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 128


class Squares(utils.Dataset):
    """One image of two squares, the second one at the right edge."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("own", 1, "square")
        self.add_class("other", 1, "circle")
        self.add_image("own", image_id=0, path=None)
        self.prepare()

    def load_image(self, image_id):
        return RNG.integers(0, 256, (40, 60, 3), np.uint8)

    def load_mask(self, image_id):
        masks = np.zeros((40, 60, 3), bool)
        masks[5:15, 10:30, 0] = masks[20:30, 50:60, 2] = True  # the second one is empty
        return masks, np.array([1, 1, 2])


def squares(*boxes: tuple[int, int, int, int], size: int = 50) -> np.ndarray:
    masks = np.zeros((size, size, len(boxes)), bool)
    for number, (top, left, bottom, right) in enumerate(boxes):
        masks[top:bottom, left:right, number] = True
    return masks


# ── sizes ──


def test_a_square_holds_the_enlarged_image_in_its_middle():
    image = RNG.integers(1, 256, (40, 60, 3), np.uint8)
    resized, window, scale, padding, crop = utils.resize_image(image, min_dim=80, max_dim=128, mode="square")
    assert (resized.shape, resized.dtype, scale, crop) == ((128, 128, 3), np.uint8, 2.0, None)
    assert window == (24, 4, 104, 124)
    assert padding == [(24, 24), (4, 4), (0, 0)]
    assert not resized[:24].any() and not resized[:, 124:].any() and resized[24:104, 4:124].all(axis=2).mean() > 0.9
    np.testing.assert_allclose(resized[24:104, 4:124].mean(), image.mean(), atol=5)


def test_what_is_too_long_is_shrunk_and_what_is_large_enough_stays():
    image = np.zeros((300, 1000, 3), np.uint8)
    _, window, scale, _, _ = utils.resize_image(image, min_dim=800, max_dim=1024, mode="square")
    assert (window, scale) == ((358, 0, 665, 1024), 1.024)
    _, window, scale, _, _ = utils.resize_image(image, min_dim=64, mode="pad64")
    assert (window, scale) == ((10, 12, 310, 1012), 1.0)
    same, window, scale, padding, crop = utils.resize_image(image, mode="none")
    assert same is image and (window, scale, padding, crop) == ((0, 0, 300, 1000), 1.0, [(0, 0)] * 3, None)


def test_a_crop_lies_in_the_image_and_its_masks_with_it():
    image = np.arange(40 * 60, dtype=np.int64).reshape(40, 60, 1)
    for seed in range(20):
        cut, window, scale, padding, crop = utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(seed))
        assert (cut.shape, window, scale) == ((32, 32, 1), (0, 0, 32, 32), 1.0)
        np.testing.assert_array_equal(utils.resize_mask(image, scale, padding, crop), cut)
    for options in ({"mode": "square"}, {"mode": "crop"}, {"mode": "pad64", "min_dim": 65}, {"mode": "other"}):
        with pytest.raises(ValueError, match="mode|multiple"):
            utils.resize_image(image, **options)


def test_masks_are_resized_as_their_image():
    masks = squares((10, 20, 30, 25), (0, 0, 50, 50))
    scale, padding = 2.0, [(3, 4), (5, 6), (0, 0)]
    resized = utils.resize_mask(masks, scale, padding)
    assert (resized.shape, resized.dtype) == ((107, 111, 2), bool)
    np.testing.assert_array_equal(utils.extract_bboxes(resized), [[23, 45, 63, 55], [3, 5, 103, 105]])


def test_small_masks_give_back_large_ones():
    rows, columns = np.mgrid[:50, :50]
    masks = np.stack([(rows - 20) ** 2 + (columns - 30) ** 2 < 200, (rows - 30) ** 2 + 3 * (columns - 20) ** 2 < 400], axis=2)
    boxes = utils.extract_bboxes(masks)
    small = utils.minimize_mask(boxes, masks, (28, 28))
    assert (small.shape, small.dtype) == ((28, 28, 2), bool)
    again = utils.expand_mask(boxes, small, (50, 50, 3))
    assert np.diag(utils.compute_overlaps_masks(again, masks)).min() > 0.9
    pasted = utils.unmold_mask(small[:, :, 0].astype(np.float32), boxes[0], (50, 50, 3))
    assert utils.compute_overlaps_masks(pasted[:, :, None], masks[:, :, :1]).item() > 0.9
    with pytest.raises(ValueError, match="box without area"):
        utils.minimize_mask(np.zeros((2, 4)), masks, (28, 28))


# ── overlaps and scores ──


def test_boxes_are_around_masks_and_zeros_around_nothing():
    masks = squares((5, 10, 15, 30), (0, 0, 0, 0))
    boxes = utils.extract_bboxes(masks)
    assert boxes.dtype == np.int32
    np.testing.assert_array_equal(boxes, [[5, 10, 15, 30], [0, 0, 0, 0]])
    np.testing.assert_array_equal(utils.trim_zeros(boxes), boxes[:1])


def test_overlaps_of_boxes_are_those_of_their_masks():
    first, second = [(5, 5, 25, 25), (30, 30, 40, 50)], [(5, 5, 25, 15), (5, 15, 25, 35), (31, 30, 41, 50)]
    overlaps = utils.compute_overlaps(np.array(first), np.array(second))
    np.testing.assert_allclose(overlaps, utils.compute_overlaps_masks(squares(*first), squares(*second)))
    np.testing.assert_allclose(overlaps, [[0.5, 1 / 3, 0], [0, 0, 9 / 11]])
    np.testing.assert_allclose(utils.compute_iou(np.array(first[0]), np.array(second), 400, None), overlaps[0])


def test_norming_and_back_changes_nothing():
    boxes = np.array([[0, 0, 50, 80], [3, 7, 20, 30]])
    parts = utils.norm_boxes(boxes, (50, 80))
    np.testing.assert_allclose(parts[0], [0, 0, 1, 1])
    np.testing.assert_array_equal(utils.denorm_boxes(parts, (50, 80)), boxes)


def test_the_better_of_two_that_overlap_is_kept():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
    np.testing.assert_array_equal(utils.non_max_suppression(boxes, np.array([0.5, 0.9, 0.1]), 0.5), [1, 2])


def test_average_precision_of_an_image_written_out():
    truth = [(0, 0, 10, 10), (20, 20, 30, 30), (40, 40, 50, 50)]
    found = [(20, 20, 30, 30), (0, 30, 10, 40), (0, 0, 10, 10), (0, 0, 10, 10)]
    true_boxes = np.array([*truth, (0, 0, 0, 0)])  # matterport fills up with zeros
    given = (true_boxes, np.array([1, 2, 1, 0]), squares(*truth, (0, 0, 0, 0)))
    answer = (np.array(found), np.array([2, 1, 1, 1]), np.array([0.9, 0.8, 0.7, 0.6]), squares(*found))
    ap, precisions, recalls, overlaps = utils.compute_ap(*given, *answer)
    assert overlaps.shape == (4, 3)
    np.testing.assert_allclose(recalls, [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(precisions, [1, 1, 2 / 3, 2 / 3, 1 / 2, 0])
    assert ap == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    true_match, found_match, _ = utils.compute_matches(*given, *answer)
    np.testing.assert_array_equal(true_match, [2, 0, -1])
    np.testing.assert_array_equal(found_match, [1, -1, 0, -1])
    assert utils.compute_ap_range(*given, *answer, verbose=0) == pytest.approx(ap)
    recall, positive = utils.compute_recall(answer[0], true_boxes[:3], 0.5)
    assert recall == pytest.approx(2 / 3) and positive.tolist() == [0, 2, 3]


def test_the_order_of_predictions_and_what_another_class_found_do_not_count():
    truth, masks = np.array([[0, 0, 10, 10]]), squares((0, 0, 10, 10))
    both = np.array([[20, 20, 30, 30], [0, 0, 10, 10]])
    seen = utils.compute_ap(
        truth, [1], masks, both, np.array([1, 1]), np.array([0.2, 0.9]), squares((20, 20, 30, 30), (0, 0, 10, 10))
    )
    assert seen[0] == 1.0
    assert utils.compute_ap(truth, [1], masks, truth, np.array([2]), np.array([0.9]), masks)[0] == 0.0
    nothing = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((50, 50, 0))
    assert utils.compute_ap(truth, [1], masks, *nothing)[0] == 0.0
    assert np.isnan(utils.compute_ap(np.zeros((0, 4)), [], np.zeros((50, 50, 0)), *nothing)[0])


# ── an image with its truth ──


def test_an_image_comes_with_its_truth_and_its_meta():
    image, meta, class_ids, boxes, masks = modellib.load_image_gt(Squares(), Numbers(), 0)
    assert (image.shape, masks.shape) == ((128, 128, 3), (128, 128, 2))  # enlarged by 64 / 40, and the empty mask is gone
    np.testing.assert_array_equal(class_ids, [1, 2])
    np.testing.assert_array_equal(boxes, utils.extract_bboxes(masks))
    np.testing.assert_array_equal(boxes, [[40, 32, 56, 64], [64, 96, 80, 112]])
    parsed = modellib.parse_image_meta(meta[None])
    assert {name: value.shape for name, value in parsed.items()} == {
        "image_id": (1,),
        "original_image_shape": (1, 3),
        "image_shape": (1, 3),
        "window": (1, 4),
        "scale": (1,),
        "active_class_ids": (1, 3),
    }
    assert parsed["window"][0].tolist() == [32, 16, 96, 112]
    assert parsed["original_image_shape"][0].tolist() == [40, 60, 3]
    assert parsed["active_class_ids"][0].tolist() == [1, 1, 0]  # of the image's source
    assert parsed["scale"][0] == np.float32(1.6)
    assert len(meta) == Numbers().IMAGE_META_SIZE
    graph = modellib.parse_image_meta_graph(meta[None])
    assert all((graph[name] == parsed[name]).all() or name == "scale" for name in parsed)


def test_turning_round_turns_image_and_masks(monkeypatch):
    monkeypatch.setattr(Squares, "load_image", lambda self, image_id: np.arange(40 * 60 * 3).reshape(40, 60, 3) % 251)
    plain, *_, masks = modellib.load_image_gt(Squares(), Numbers(), 0)
    seeds = [seed for seed in range(8) if np.random.default_rng(seed).random() < 0.5]
    turned, *_, mirrored = modellib.load_image_gt(Squares(), Numbers(), 0, augment=True, rng=np.random.default_rng(seeds[0]))
    np.testing.assert_array_equal(turned, plain[:, ::-1])
    np.testing.assert_array_equal(mirrored, masks[:, ::-1])
    small = modellib.load_image_gt(Squares(), Numbers(), 0, use_mini_mask=True)[4]
    assert small.shape == (56, 56, 2) and small.all()
    with pytest.raises(ValueError, match="imgaug"):
        modellib.load_image_gt(Squares(), Numbers(), 0, augmentation=object())


def test_molding_and_back_changes_nothing():
    image = RNG.integers(0, 256, (8, 9, 3), np.uint8)
    molded = modellib.mold_image(image, Numbers())
    assert molded.dtype == np.float32
    np.testing.assert_allclose(molded[0, 0], image[0, 0] - np.array([123.7, 116.8, 103.9]), rtol=1e-5)
    np.testing.assert_allclose(modellib.unmold_image(molded, Numbers()).astype(int), image, atol=1)


def test_an_array_is_told_in_one_line(capsys):
    modellib.log("image", np.zeros((2, 3)))
    modellib.log("nothing", np.zeros((0, 3)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "(2, 3)" in lines[0] and "float64" in lines[0] and "empty" in lines[1]


# ── images ──


def test_colours_are_as_many_and_all_different():
    colours = visualize.random_colors(7, rng=np.random.default_rng(1))
    assert len(set(colours)) == 7 and np.min(colours) == 0 and np.max(colours) == 1
    assert visualize.random_colors(0) == []


def test_a_mask_colours_its_pixels_and_no_other():
    image = np.full((50, 50, 3), 100, np.uint8)
    mask = squares((10, 10, 20, 30))[:, :, 0]
    painted = visualize.apply_mask(image, mask, (1.0, 0.0, 0.5), alpha=0.25)
    assert painted.dtype == np.uint8 and (image == 100).all()
    np.testing.assert_array_equal(painted[15, 15], [138, 75, 106])
    np.testing.assert_array_equal((painted != 100).all(axis=2), mask)
    framed = visualize.draw_box(image, (10, 10, 20, 30), [255, 0, 0])
    np.testing.assert_array_equal(utils.extract_bboxes((framed != image).any(axis=2)[:, :, None]), [[10, 10, 20, 30]])


@pytest.fixture
def pyplot(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    yield pyplot
    pyplot.close("all")


def test_instances_are_shown_with_their_names(pyplot):
    boxes = np.array([[5, 5, 20, 25], [30, 10, 45, 40]])
    masks = squares(*map(tuple, boxes.tolist()))
    image = np.zeros((50, 50, 3), np.uint8)
    _, ax = pyplot.subplots()
    names = ["BG", "square", "circle"]
    visualize.display_instances(image, boxes, masks, np.array([2, 1]), names, np.array([0.9, 0.25]), title="found", ax=ax)
    assert [text.get_text() for text in ax.texts] == ["circle 0.900", "square 0.250"]
    assert ax.get_title() == "found"
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_array_equal((shown != 0).any(axis=2), masks.any(axis=2))
    visualize.display_instances(image, boxes, masks, np.array([2, 1]), names, show_mask=False)
    with pytest.raises(ValueError, match="2 boxes, 1 masks and 2 classes"):
        visualize.display_instances(image, boxes, masks[:, :, :1], np.array([2, 1]), names)


def test_the_classes_that_cover_most_are_shown_first(pyplot):
    masks = squares((0, 0, 5, 5), (10, 10, 40, 40), (0, 40, 5, 45))
    visualize.display_top_masks(np.zeros((50, 50, 3), np.uint8), masks, np.array([1, 2, 1]), ["BG", "square", "circle"])
    titles = [ax.get_title() for ax in pyplot.gcf().axes]
    assert titles == ["H x W=50x50", "circle", "square", "-", "-"]


# ── what is gone ──


@pytest.mark.parametrize(
    ("module", "name", "successor"),
    [
        (utils, "generate_pyramid_anchors", "maskrcnn.ops.anchors"),
        (visualize, "display_differences", "maskrcnn evaluate --report"),
        (modellib, "data_generator", "make_loader"),
    ],
)
def test_a_name_without_counterpart_is_imported_and_names_its_successor(module, name, successor):
    with pytest.raises(NotImplementedError, match=successor):
        getattr(module, name)(1, key=2)
    with pytest.raises(AttributeError, match="no name 'nothing'"):
        module.nothing  # noqa: B018
    assert mrcnn.visualize is visualize


def test_scripts_find_the_weights_where_they_want_them(tmp_path, monkeypatch):
    (tmp_path / "kept.h5").write_bytes(b"weights")
    monkeypatch.setattr("maskrcnn.weights.finding.resolve", {"matterport-coco": tmp_path / "kept.h5"}.__getitem__)
    utils.download_trained_weights(tmp_path / "mask_rcnn_coco.h5")
    assert (tmp_path / "mask_rcnn_coco.h5").read_bytes() == b"weights"


def test_heads_on_a_backbone_that_learnt_nothing_are_warned_of(monkeypatch):
    model = object.__new__(modellib.MaskRCNN)
    model.mode, model.config, model._has_backbone = "training", Numbers(), False
    frozen = type("Layer", (), {"trainable": False})()
    monkeypatch.setattr(model, "_loader", lambda *_: None, raising=False)
    monkeypatch.setattr(model, "set_trainable", lambda layers: None, raising=False)
    monkeypatch.setattr(model, "_convolutions", lambda: [frozen], raising=False)

    class Reached(Exception):  # noqa: N818
        pass

    def compiled(*_):
        raise Reached

    monkeypatch.setattr(model, "compile", compiled, raising=False)
    with pytest.warns(UserWarning, match="backbone of random weights"), pytest.raises(Reached):
        model.train(Squares(), None, 0.001, 1, "heads")
    model._has_backbone = True
    with pytest.raises(Reached):  # and warnings are errors here
        model.train(Squares(), None, 0.001, 1, "heads")
