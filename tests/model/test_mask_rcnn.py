"""Laws of the whole network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from small_network import (
    FRAME,
    NUM_ROWS,
    Batches,
    evaluate,
    images_of,
    make_batch,
    predict,
    small_network,
    train,
    with_small_backbone,
)
from tensors import compute

from maskrcnn.model.mask_rcnn import LOSSES, Network
from maskrcnn.ops import mask_losses, native

not_on_jax = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="the same code for other shapes, which takes JAX long to compile"
)
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shapes unknown until the graph runs")


def variables_of(network: Network) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in network.variables]


def odd_batch(kind: str) -> dict[str, np.ndarray]:
    batch = {
        "no object": lambda: make_batch((0, 0)),
        "one object": lambda: make_batch((1, 0)),
        "400 objects": lambda: make_batch((NUM_ROWS, 2)),
        "crowds alone": lambda: make_batch((2, 1), num_crowds=2),
        "a crowd that covers the frame": lambda: make_batch((1, 1), num_crowds=1),
        "objects without area": lambda: make_batch((4, 4)),
        "objects outside": lambda: make_batch((4, 4)),
        "objects that are all one": lambda: make_batch((40, 40)),
        "masks that are empty": lambda: make_batch(),
    }[kind]()
    if kind == "a crowd that covers the frame":
        batch["boxes"][:, 0] = (0, 0, *FRAME[::-1])
    if kind == "objects without area":
        batch["boxes"][:, :4] = [[10, 10, 10, 10], [10, 10, 10, 30], [30, 10, 50, 10], [0, 0, 0, 0]]
    if kind == "objects outside":
        batch["boxes"][:, :4] = [[-50, -50, -20, -20], [500, 10, 540, 40], [-1e6, -1e6, 1e6, 1e6], [90, 60, 130, 100]]
    if kind == "objects that are all one":
        batch["boxes"][:, :40] = (20, 20, 44, 40)
    if kind == "masks that are empty":
        batch["masks"][:] = 0
    return batch


@pytest.mark.parametrize(
    "kind",
    [
        "no object",
        "one object",
        "400 objects",
        "crowds alone",
        "a crowd that covers the frame",
        "objects without area",
        "objects outside",
        "objects that are all one",
        "masks that are empty",
    ],
)
def test_losses_and_gradients_are_finite_whatever_an_image_shows(network, kind):
    """A weight after a step is the weight before less the gradient times the rate, so finite weights are finite gradients."""
    before = variables_of(network)
    losses = train(network, odd_batch(kind))
    assert all(np.isfinite(losses[name]).all() for name in (*LOSSES, "loss")), losses
    after = variables_of(network)
    assert all(np.isfinite(value).all() for value in after)
    assert any((one != other).any() for one, other in zip(before, after))
    np.testing.assert_allclose(losses["loss"], sum(losses[name][0] for name in LOSSES), rtol=1e-5)


@pytest.mark.parametrize("kind", ["no object", "crowds alone", "a crowd that covers the frame"])
def test_without_objects_only_objectness_and_class_losses_are_left(network, kind):
    before = {weight.path: keras.ops.convert_to_numpy(weight).copy() for weight in network.mask_head.weights}
    losses = train(network, odd_batch(kind))
    assert losses["rpn_box_loss"] == losses["box_loss"] == losses["mask_loss"] == [0.0]
    assert losses["rpn_objectness_loss"][0] > 0.0
    # No RoI is known to be background where the crowd is everywhere; anchors that stick out of the frame are.
    assert (losses["class_loss"][0] == 0.0) == (kind == "a crowd that covers the frame")
    for weight in network.mask_head.weights:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), before[weight.path])


def test_some_steps_on_one_batch_lower_every_loss(network):
    losses = train(network, make_batch(), steps=15)
    assert losses["loss"][-1] < 0.8 * losses["loss"][0]
    for name in ("rpn_objectness_loss", "class_loss", "mask_loss"):
        assert losses[name][-1] < losses[name][0], name


@pytest.mark.slow  # JAX compiles the step for it
def test_boxes_are_learnt_by_their_overlap_too():
    network, batch = small_network(box_head__box_loss="ciou", rpn__box_loss="giou"), make_batch((3, 5))
    network.compile(keras.optimizers.SGD(0.1))
    before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights}
    losses = network.train_on_batch(batch, return_dict=True)
    assert losses["rpn_box_loss"] > 0 and losses["box_loss"] > 0 and np.isfinite(losses["loss"])
    for layer in (network.rpn.deltas, network.box_head.deltas):
        assert np.abs(keras.ops.convert_to_numpy(layer.kernel) - before[layer.kernel.path]).max() > 0


def test_fit_shows_every_loss_by_name_in_training_and_in_validation(network):
    history = network.fit(
        Batches([make_batch()] * 2), validation_data=Batches([make_batch(seed=1)]), epochs=1, verbose=0
    ).history
    assert set(history) == {prefix + name for prefix in ("", "val_") for name in (*LOSSES, "loss")}
    assert all(np.isfinite(values).all() for values in history.values())


def test_validation_is_the_same_each_time_and_changes_nothing(network):
    before = variables_of(network.backbone)
    first, second = (evaluate(network, make_batch()) for _ in range(2))
    assert first == second
    for one, other in zip(before, variables_of(network.backbone)):
        np.testing.assert_array_equal(one, other)


def test_losses_of_several_batches_are_averaged(network):
    few, many = make_batch((1, 1), seed=1), make_batch((9, 9), seed=2)
    both = network.evaluate(Batches([few, many]), verbose=0, return_dict=True)
    for name in (*LOSSES, "loss"):
        np.testing.assert_allclose(both[name], (evaluate(network, few)[name] + evaluate(network, many)[name]) / 2, rtol=1e-4)


def test_padding_rows_change_nothing_whatever_they_hold(network):
    """Also those in front and between: the order of the objects means nothing, for every anchor and RoI is sampled here."""
    batch = make_batch((3, 0))
    plain, detections = evaluate(network, batch), predict(network, batch)
    padding = ~batch["valid"]
    filled = {name: value.copy() for name, value in batch.items()}
    filled["boxes"][padding], filled["labels"][padding], filled["masks"][padding] = np.nan, 999, 255
    filled["crowd"] |= padding
    assert evaluate(network, filled) == plain
    filled["boxes"][padding] = np.inf
    assert evaluate(network, filled) == plain
    order = np.random.default_rng(0).permutation(NUM_ROWS)
    moved = {
        name: value[:, order] if name in ("boxes", "labels", "masks", "crowd", "valid") else value
        for name, value in filled.items()
    }
    for name, loss in evaluate(network, moved).items():
        np.testing.assert_allclose(loss, plain[name], rtol=1e-4, atol=1e-6, err_msg=name)
    for one, other in zip(detections, predict(network, filled)):
        np.testing.assert_array_equal(one, other)


def test_pixels_outside_of_the_image_change_nothing_whatever_they_show(network):
    """A larger frame does, a little: past the first layer its zeros are no longer zero, and its anchors are negatives too."""
    batch = make_batch()
    height, width = FRAME
    outside = ~((np.arange(height)[:, None] < batch["sizes"][1, 0]) & (np.arange(width) < batch["sizes"][1, 1]))
    assert outside.any()
    filled = {**batch, "images": batch["images"].copy()}
    filled["images"][1][outside] = np.random.default_rng(0).integers(0, 255, (outside.sum(), 3))
    assert evaluate(network, filled) == evaluate(network, batch)
    for one, other in zip(predict(network, filled), predict(network, batch)):
        np.testing.assert_array_equal(one, other)
    inside = {**batch, "images": batch["images"].copy()}
    inside["images"][1, :8, :8] += 90
    assert evaluate(network, inside) != evaluate(network, batch)


def test_images_of_a_batch_do_not_touch_each_other(network):
    batch = make_batch()
    swapped = {name: value[::-1].copy() for name, value in batch.items()}
    plain, answer = predict(network, batch), predict(network, swapped)
    assert len(plain[0]) == len(batch["images"]) > 1
    for one, other in zip(plain, answer, strict=True):
        np.testing.assert_allclose(one, other[::-1], rtol=1e-4, atol=1e-4)


def check_detections(found, sizes, *, num_rows: int, num_classes: int, mask_size: int, score: float = 0.05) -> None:
    images = len(sizes)
    assert found.boxes.shape == (images, num_rows, 4)
    assert found.masks.shape == (images, num_rows, mask_size, mask_size)
    assert found.scores.shape == found.labels.shape == found.valid.shape == (images, num_rows)
    assert (found.boxes >= 0).all()
    assert (found.boxes[..., 2:] <= np.asarray(sizes)[:, None, ::-1]).all()
    assert ((found.boxes[..., 2:] > found.boxes[..., :2]).all(axis=-1) == found.valid).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert ((found.labels >= 0) & (found.labels < num_classes)).all()
    assert ((found.masks >= 0) & (found.masks <= 1)).all()
    assert ((found.scores > score) == found.valid).all()


def test_detections_are_inside_the_image_sorted_and_at_most_so_many(network):
    batch = make_batch()
    found = predict(network, batch)
    check_detections(found, batch["sizes"], num_rows=20, num_classes=3, mask_size=28)
    assert found.valid.all(), "this untrained network believes in everything"


def test_a_network_that_believes_in_nothing_finds_nothing(network):
    bias = network.box_head.classes.bias
    bias.assign(np.array([50.0, 0.0, 0.0, 0.0]))
    found = predict(network, make_batch())
    assert not found.valid.any()
    assert not found.boxes.any()
    assert not found.scores.any()
    assert np.isfinite(found.masks).all()


def test_weights_that_are_no_numbers_give_no_detections(network):
    """Not an index out of range: who has lost a training to NaN should see NaN losses."""
    for weight in network.trainable_weights:
        weight.assign(np.full(weight.shape, np.nan))
    assert not predict(network, make_batch()).valid.any()
    assert np.isnan(evaluate(network, make_batch())["loss"])


@not_on_jax
def test_images_alone_are_frames_that_are_all_image(network):
    images = make_batch()["images"]
    sizes = np.tile(np.array(FRAME, np.int32), (2, 1))
    found = predict(network, {"images": images, "sizes": sizes})
    alone = compute(lambda images: network(images, training=False), images.astype(np.float32))
    np.testing.assert_allclose(alone.scores, found.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalising_takes_the_mean_off_divides_and_leaves_0_outside(order):
    network, batch = small_network(image__channel_order=order), make_batch()
    image_config = network.config.image
    expected = (batch["images"] - np.array(image_config.mean)) / np.array(image_config.std)
    expected = expected if order == "rgb" else expected[..., ::-1]
    for image, (height, width) in zip(expected, batch["sizes"]):
        image[height:], image[:, width:] = 0, 0
    answer = compute(network.normalise, batch["images"], batch["sizes"])
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)


def test_a_saved_network_gives_equal_output_and_goes_on_where_it_was(network, tmp_path):
    batch = make_batch()
    train(network, batch, steps=2)
    network.save(tmp_path / "network.keras")
    with with_small_backbone():
        loaded = keras.models.load_model(tmp_path / "network.keras", custom_objects={"Network": Network})
    assert loaded.config == network.config
    for one, other in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = zip(network.optimizer.variables, loaded.optimizer.variables, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
    assert loaded.optimizer.iterations == network.optimizer.iterations
    assert {layer.trainable for layer in loaded.backbone.layers} == {True, False}
    for one, other in zip(predict(network, batch), predict(loaded, batch)):
        np.testing.assert_array_equal(one, other)


def test_a_saved_network_keeps_what_it_was_compiled_with(tmp_path):
    network = small_network()
    network.compile(keras.optimizers.Adam(0.002), loss="dice", loss_weights={"mask_loss": 2.5, "box_loss": 0.5})
    network.save(tmp_path / "network.keras")
    with with_small_backbone():
        loaded = keras.models.load_model(tmp_path / "network.keras", custom_objects={"Network": Network})
    assert loaded.mask_loss == "dice"
    assert loaded.loss_weights == {"mask_loss": 2.5, "box_loss": 0.5}
    assert isinstance(loaded.optimizer, keras.optimizers.Adam)
    np.testing.assert_allclose(float(loaded.optimizer.learning_rate), 0.002, rtol=1e-6)
    assert network.get_compile_config()["jit_compile"] == "auto", "a file may be opened on another backend"


def total_of(network: Network, losses: dict[str, float]) -> float:
    tensors = {name: keras.ops.convert_to_tensor(np.float32(loss)) for name, loss in losses.items()}
    batch = {"images": keras.ops.zeros((1, *FRAME, 3)), "sizes": keras.ops.ones((1, 2), "int32")}
    return float(network.compute_loss(x=batch, y_pred=tensors))


def test_the_loss_is_the_sum_of_the_named_ones_by_their_weights():
    network = small_network()
    losses = {name: float(place + 1) for place, name in enumerate(LOSSES)}
    network.compile("sgd")
    np.testing.assert_allclose(total_of(network, losses), 15.0, rtol=1e-6)
    network.compile("sgd", loss_weights={"rpn_box_loss": 10, "mask_loss": 0.0})
    np.testing.assert_allclose(total_of(network, losses), 1 + 20 + 3 + 4, rtol=1e-6)


def mean_difference(target, probabilities):
    return keras.ops.mean(keras.ops.abs(target - probabilities), axis=-1)


def mask_loss_of(network: Network, target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    def loss(*arguments: Any) -> Any:  # a function of its own: JAX keeps what it compiled for a method
        return network._per_roi_mask_loss(*arguments)

    return compute(loss, target, logits)


def test_the_mask_loss_is_the_configurations_unless_compile_names_another():
    rng = np.random.default_rng(0)
    target = (rng.random((1, 2, 28, 28)) < 0.5).astype(np.float32)
    logits = rng.normal(size=(1, 2, 28, 28)).astype(np.float32)
    network = small_network(mask_head__mask_loss="boundary")
    network.compile("sgd")
    expected = compute(mask_losses.mask_loss, target, logits, kind="boundary")
    np.testing.assert_allclose(mask_loss_of(network, target, logits), expected, rtol=1e-5)
    network.compile("sgd", loss=lambda target, probabilities: keras.ops.sum(0.0 * probabilities, axis=-1) + 7.0)
    np.testing.assert_allclose(mask_loss_of(network, target, logits), 7.0)
    with pytest.raises(ValueError, match='"boundary" takes a mask_size of 28 or 56, for memory; received 112'):
        small_network(mask_head__mask_loss="boundary", mask_head__mask_size=112)


def test_the_mask_loss_is_the_one_that_compile_names():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    target = (rng.random((2, 3, 4, 4)) < 0.5).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    expected = {
        "binary_crossentropy": -np.log(np.where(target == 1, probabilities, 1 - probabilities)).mean((2, 3)),
        mean_difference: np.abs(target - probabilities).mean((2, 3)),
        "mean_absolute_error": np.abs(target - probabilities).mean((2, 3)),
        "dice": 1 - 2 * (target * probabilities).sum((2, 3)) / (target.sum((2, 3)) + probabilities.sum((2, 3))),
        keras.losses.MeanSquaredError(): np.square(target - probabilities).mean((2, 3)),
        keras.losses.Huber(delta=0.2): np.where(
            np.abs(target - probabilities) < 0.2,
            np.square(target - probabilities) / 2,
            0.2 * np.abs(target - probabilities) - 0.02,
        ).mean((2, 3)),
        keras.losses.Dice(): 1 - 2 * (target * probabilities).sum((2, 3)) / (target.sum((2, 3)) + probabilities.sum((2, 3))),
    }
    for loss, values in expected.items():
        network = small_network()
        network.compile("sgd", loss=loss)
        np.testing.assert_allclose(mask_loss_of(network, target, logits), values, rtol=1e-4, err_msg=str(loss))


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_metrics_are_refused_with_what_takes_their_place(argument):
    network = small_network()
    with pytest.raises(ValueError, match="compile\\(\\) takes no metrics.*maskrcnn.evaluate"):
        network.compile("adam", **{argument: ["accuracy"]})


def test_a_loss_weight_of_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'masks'; possible: rpn_objectness_loss, .*mask_loss"):
        small_network().compile("adam", loss_weights={"masks": 2.0})


def test_loss_weights_without_names_are_refused():
    with pytest.raises(ValueError, match=r"factors by name, .*received \[1, 1, 1, 1, 1\]"):
        small_network().compile("adam", loss_weights=[1, 1, 1, 1, 1])


def test_no_loss_is_the_papers():
    network = small_network()
    network.compile("sgd", loss=None)
    assert network.mask_loss == "binary_crossentropy"


def test_images_with_channels_first_are_refused_when_a_network_is_made(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match=r"takes images as \(B, H, W, C\).*set_image_data_format\('channels_last'\)"):
        small_network()


def test_fit_without_truth_says_what_is_missing(network):
    with pytest.raises(ValueError, match="need batches that hold boxes, labels and masks"):
        network.fit(Batches([images_of(make_batch())]), verbose=0)


class Fails(keras.callbacks.Callback):
    """Makes the first step fail, as an image does that cannot be read."""

    def fail(self, *_):
        raise OSError("the image is gone")

    def on_test_batch_begin(self, batch, logs=None):
        self.model.test_function = self.fail

    def on_predict_batch_begin(self, batch, logs=None):
        self.model.predict_function = self.fail


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_network_outlives_a_step_that_fails(verb):
    network = small_network()
    network.compile("sgd", run_eagerly=True)
    before, batch = network.get_weights(), make_batch()
    with pytest.raises(OSError, match="the image is gone"):
        getattr(network, verb)(Batches([images_of(batch) if verb == "predict" else batch]), verbose=0, callbacks=[Fails()])
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# Everything that can be chosen, chosen otherwise than above.
OTHER_CHOICES = {
    "num_classes": 80,
    "anchors__sizes": tuple((size, size * 2 ** (1 / 3), size * 2 ** (2 / 3)) for size in (8, 16, 32, 64, 128)),  # 9 a place
    "backbone__norm": "frozen",
    "backbone__frozen_stages": 0,
    "box_head__kind": "4conv1fc",
    "box_head__conv_channels": 8,
    "box_head__dropout": 0.5,
    "mask_head__mask_size": 56,
    "roi_align__aligned": False,
    "roi_align__sampling_ratio": 1,
    "rpn__num_sampled": 256,
    "roi_sampler__num_sampled": 64,
    "detect__nms": "class_agnostic",
    "detect__score": 0.005,
}


def test_the_other_choices_train():
    """One upright image, 80 classes, dice as the mask loss."""
    keras.utils.set_random_seed(0)
    network = small_network(**OTHER_CHOICES)
    network.compile(keras.optimizers.SGD(0.005, momentum=0.9), loss="dice")
    losses = train(network, make_batch((6,), frame=(96, 64), num_rows=16, num_classes=80), steps=6)
    assert all(np.isfinite(losses[name]).all() for name in (*LOSSES, "loss"))
    assert losses["loss"][-1] < losses["loss"][0]


@not_on_jax
def test_the_other_choices_detect():
    network = small_network(**OTHER_CHOICES)
    batch = make_batch((6,), frame=(96, 64), num_classes=80)
    found = compute(network.infer, batch["images"], batch["sizes"])
    assert found.valid.any()
    check_detections(found, batch["sizes"], num_rows=20, num_classes=80, mask_size=56, score=0.005)


@not_on_jax
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_boxes_keep_their_digits_under_a_mixed_precision_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = small_network()
    finally:
        keras.config.set_dtype_policy("float32")
    batch = make_batch((3, 2), num_rows=16)
    features = network.fpn(network.backbone(keras.ops.convert_to_tensor(batch["images"].astype(np.float32))))
    assert "mixed_" + keras.backend.standardize_dtype(features[0].dtype) == policy
    seen = {}

    def sample(proposals, truth, *rest, inner=network.roi_sampler.sample):
        seen["boxes"] = truth["boxes"]
        return inner(proposals, truth, *rest)

    network.roi_sampler.sample = sample
    losses = network(keras.tree.map_structure(keras.ops.convert_to_tensor, batch), training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(seen["boxes"]), batch["boxes"])
    assert all(keras.backend.standardize_dtype(loss.dtype) == "float32" for loss in losses.values())
    assert all(np.isfinite(keras.ops.convert_to_numpy(keras.ops.stop_gradient(loss))) for loss in losses.values())


@not_on_jax
def test_one_class_is_enough():
    network = small_network(num_classes=1)
    batch = make_batch((2,), num_rows=16, num_classes=1)
    losses = compute(lambda batch: network.losses_of(batch, training=False), batch)
    assert all(np.isfinite(loss) for loss in losses.values())
    found = compute(network.infer, batch["images"], batch["sizes"])
    check_detections(found, batch["sizes"], num_rows=20, num_classes=1, mask_size=28)


@on_tensorflow
def test_one_graph_takes_frames_of_any_size(network):
    import tensorflow as tf

    any_size = [tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((None, 2), tf.int32)]
    infer = tf.function(network.infer, input_signature=any_size)
    for frame, num_images in (((160, 96), 1), ((32, 64), 3)):
        batch = make_batch((0,) * num_images, frame=frame)
        images = [tf.constant(batch[name]) for name in ("images", "sizes")]
        for one, other in zip(infer(*images), network.infer(*images), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@not_on_jax
def test_batches_of_different_frames_and_rows_follow_each_other(network):
    batches = [make_batch(), make_batch(frame=FRAME[::-1], num_rows=16)]
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, batches)
    expected = [network.losses_of(batch, training=False) for batch in tensors]
    losses = network.evaluate(Batches(batches), verbose=0, return_dict=True)
    for name in LOSSES:
        mean = np.mean([keras.ops.convert_to_numpy(of_batch[name]) for of_batch in expected])
        np.testing.assert_allclose(losses[name], mean, rtol=1e-3, atol=1e-5, err_msg=name)
    history = network.fit(Batches(batches), verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())


@pytest.mark.slow
@on_tensorflow
def test_xla_compiles_the_training_step():
    batch, losses = make_batch(num_rows=16), []
    for jit_compile in (False, True):
        network = small_network(backbone__norm="frozen")
        rng = np.random.default_rng(0)
        network.set_weights([rng.normal(0, 0.1, weight.shape) + 1.0 * (weight.ndim == 1) for weight in network.get_weights()])
        network.compile(keras.optimizers.SGD(0.01), jit_compile=jit_compile)
        assert network.kernels == (native.PORTABLE if jit_compile else native.KERNELS)
        losses.append(train(network, batch, steps=2))
    for name in LOSSES:
        np.testing.assert_allclose(losses[1][name], losses[0][name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_a_centred_image_has_its_window_in_the_middle_and_nothing_but_0_around_it():
    network, batch = small_network(image__place="centre"), make_batch()
    height, width = batch["images"].shape[1:3]
    regions, visible = compute(network.regions, batch["images"], batch["sizes"])
    for region, (rows, columns) in zip(regions, batch["sizes"]):
        top, left = (height - rows) // 2, (width - columns) // 2
        np.testing.assert_array_equal(region, [left, top, left + columns, top + rows])
    np.testing.assert_array_equal(visible, regions)
    answer = compute(network.normalise, batch["images"], batch["sizes"])
    for image, (left, top, right, bottom) in zip(answer, regions.astype(int)):
        inside = np.zeros((height, width), bool)
        inside[top:bottom, left:right] = True
        assert not image[~inside].any()
        assert image[inside].any(axis=-1).mean() > 0.9


def test_black_padding_is_image_to_the_network_and_last_pixels_end_one_earlier():
    network, batch = small_network(image__padding="black", anchors__ends="last_pixel"), make_batch()
    height, width = batch["images"].shape[1:3]
    answer = compute(network.normalise, np.zeros_like(batch["images"]), batch["sizes"])
    black = -np.array(network.config.image.mean) / np.array(network.config.image.std)
    np.testing.assert_allclose(answer, np.broadcast_to(black, answer.shape), rtol=1e-5)
    regions, visible = compute(network.regions, batch["images"], batch["sizes"])
    np.testing.assert_array_equal(visible, [[0, 0, width - 1, height - 1]] * 2)
    np.testing.assert_array_equal(regions[:, 2:], batch["sizes"][:, ::-1] - 1)


MATTERPORT = {
    "image__place": "centre",
    "image__padding": "black",
    "anchors__ends": "last_pixel",
    "rpn__rank": "all_levels",
    "rpn__delta_weights": (10.0, 10.0, 5.0, 5.0),
    "roi_align__mode": "crop_and_resize",
    "detect__classes": "best",
}
DETECTRON2 = {"roi_align__sampling_ratio": 0, "rpn__box_beta": 0.0, "box_head__box_beta": 0.0}


@not_on_jax
@pytest.mark.parametrize("changes", [MATTERPORT, DETECTRON2], ids=["matterport", "detectron2"])
def test_other_projects_conventions_train_and_find(changes):
    network, batch = small_network(**changes), make_batch()
    network.compile(keras.optimizers.SGD(0.005, momentum=0.9))
    losses = train(network, batch, steps=4)
    assert all(np.isfinite(losses[name]).all() for name in (*LOSSES, "loss"))
    assert losses["loss"][-1] < losses["loss"][0]
    found = compute(network.infer, batch["images"], batch["sizes"])
    assert np.isfinite(found.boxes).all()
    regions = compute(network.regions, batch["images"], batch["sizes"])[0]
    boxes = found.boxes[found.valid]
    bounds = np.repeat(regions, found.valid.sum(axis=1), axis=0)
    assert (boxes >= bounds[:, [0, 1, 0, 1]]).all() and (boxes <= bounds[:, [2, 3, 2, 3]]).all()
