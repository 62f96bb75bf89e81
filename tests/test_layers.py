"""The parts as layers: a user's own model of them trains, is saved and opened, and each answers as the network's own part."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import nms as nms_reference

from maskrcnn import layers as parts

pytestmark = pytest.mark.backend
SIDE = 64


def arrays(answers) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(answer)) for answer in answers]


def backbone(images):
    """Maps of strides 4 to 32, as a pre-trained ResNet has them."""
    x = keras.layers.Conv2D(8, 4, strides=4, padding="same", activation="relu")(images)
    levels = [x]
    for _ in range(3):
        levels.append(keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(levels[-1]))
    return levels


def whole_model() -> keras.Model:
    """The six layers, one behind the other: what a reader of the paper would write down."""
    images = keras.Input((SIDE, SIDE, 3))
    pyramid = parts.FPN(16)(backbone(images))
    objectness, _, proposals = parts.RPN(num_anchors=9, num_proposals=20)(pyramid)
    pooled = parts.RoIAlign(pool_size=7)(pyramid, proposals)
    scores, _ = parts.BoxHead(num_classes=3, hidden=32)(pooled)
    boxes, best, valid = parts.NMS(iou=0.5, max_boxes=10)(proposals, scores[:, :, 1])
    labels = keras.layers.Lambda(lambda best: keras.ops.zeros_like(best, dtype="int32"), output_shape=(10,))(best)
    masks = parts.MaskHead(num_classes=3, channels=16)(parts.RoIAlign(pool_size=14)(pyramid, boxes), labels)
    return keras.Model(images, {"objectness": objectness, "boxes": boxes, "scores": best, "valid": valid, "masks": masks})


def test_all_six_in_a_row_find_boxes_and_masks():
    answer = whole_model()(np.random.default_rng(0).uniform(size=(2, SIDE, SIDE, 3)).astype("float32"))
    shapes = {name: tuple(tensor.shape) for name, tensor in answer.items()}
    anchors = 9 * sum((SIDE // stride) ** 2 for stride in (4, 8, 16, 32, 64))
    assert shapes == {
        "objectness": (2, anchors, 1),
        "boxes": (2, 10, 4),
        "scores": (2, 10),
        "valid": (2, 10),
        "masks": (2, 10, 28, 28),
    }
    boxes, valid = arrays([answer["boxes"], answer["valid"]])
    assert valid.any() and boxes.min() >= 0 and boxes.max() <= SIDE


def test_a_region_proposal_network_of_them_trains_with_keras_alone(tmp_path):
    """`compile` and `fit` as of any Keras model; saved and opened, it answers the same."""
    images = keras.Input((SIDE, SIDE, 3))
    rpn = parts.RPN(num_anchors=9, num_proposals=20)
    objectness, deltas, _ = rpn(parts.FPN(16)(backbone(images)))
    model = keras.Model(images, {"objectness": objectness, "deltas": deltas})
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss={"objectness": "binary_crossentropy", "deltas": "huber"})
    pixels = np.random.default_rng(0).uniform(0, 0.1, (4, SIDE, SIDE, 3)).astype("float32")
    boxes = np.array([[[8, 8, 40, 40]], [[20, 20, 52, 52]], [[0, 30, 32, 62]], [[30, 0, 62, 32]]], "float32")
    for image, ((x1, y1, x2, y2),) in zip(pixels, boxes.astype(int)):
        image[y1:y2, x1:x2] = 1.0
    targets, weights = (dict(zip(part, arrays(part.values()))) for part in rpn.anchor_targets(SIDE, SIDE, boxes))
    on_object = targets["objectness"][..., 0] == 1
    assert targets["objectness"].shape == (4, objectness.shape[1], 1) and on_object.any(axis=1).all()
    assert (weights["objectness"] == 0).any() and np.array_equal(weights["deltas"], on_object)
    assert (targets["deltas"][~on_object] == 0).all() and np.abs(targets["deltas"][on_object]).max() < 2
    losses = model.fit(pixels, targets, sample_weight=weights, epochs=6, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "rpn.keras")
    opened = keras.saving.load_model(tmp_path / "rpn.keras")
    for name in ("objectness", "deltas"):
        np.testing.assert_allclose(*arrays([opened(pixels)[name], model(pixels)[name]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (parts.FPN(8, norm="live"), [[(2, 16 // 2**level, 16 // 2**level, 4) for level in range(4)]]),
        (
            parts.RoIAlign(pool_size=3, sampling_ratio=1),
            [[(2, 16 // 2**level, 16 // 2**level, 4) for level in range(5)], (2, 6, 4)],
        ),
        (parts.BoxHead(2, hidden=8), [(2, 3, 7, 7, 4)]),
        (parts.MaskHead(2, channels=8), [(2, 3, 14, 14, 4), (2, 3)]),
        (parts.NMS(iou=0.3, max_boxes=4), [(2, 6, 4), (2, 6)]),
    ],
)
def test_each_has_its_arguments_in_its_configuration_and_the_shapes_it_says(layer, inputs):
    rng = np.random.default_rng(0)

    def fill(shape):
        return [fill(inner) for inner in shape] if isinstance(shape, list) else rng.uniform(size=shape).astype("float32")

    values = [fill(shape) for shape in inputs]
    specs = keras.tree.map_structure(lambda value: keras.KerasTensor(value.shape, str(value.dtype)), values)
    said = [tuple(spec.shape) for spec in keras.tree.flatten(layer.compute_output_spec(*specs))]
    answers = keras.tree.flatten(layer(*values))
    assert len(answers) >= 1 and [tuple(answer.shape) for answer in answers] == said
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_nms_is_the_slow_twins():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 40, (1, 30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (1, 30, 2))], axis=-1).astype("float32")
    scores = rng.uniform(size=(1, 30)).astype("float32")
    found, best, valid = arrays(parts.NMS(iou=0.4, max_boxes=30)(boxes, scores))
    order = np.argsort(-scores[0])
    kept = order[nms_reference.nms(boxes[0][order], np.ones(30, bool), 0.4)]
    assert 3 < len(kept) < 30 and valid.sum() == len(kept)
    np.testing.assert_allclose(found[0, : len(kept)], boxes[0][kept], rtol=1e-6)
    np.testing.assert_allclose(best[0, : len(kept)], scores[0][kept], rtol=1e-6)


def test_anchors_come_in_threes():
    with pytest.raises(ValueError, match="a multiple of 3, one for each aspect ratio; received 4"):
        parts.RPN(num_anchors=4)
