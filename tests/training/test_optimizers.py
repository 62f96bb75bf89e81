"""Laws of the optimizers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_network import Batches, make_batch, optimizer_of, small_config, small_network, with_small_backbone
from tensors import compute

from maskrcnn.config.run import RunConfig
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.training.optimizers import averaged, make_optimizer

pytestmark = pytest.mark.backend
RUN = {"batch_size": 2, "num_steps": 100, "schedule": "constant", "warm_up_steps": 0}
IMAGES = np.random.default_rng(0).normal(size=(12, 5, 5, 3)).astype(np.float32)


def small_model() -> keras.Model:
    """Linear, with one layer named as a backbone's are and one as a head; ten times the output is the loss."""
    images = keras.Input((5, 5, 3))
    x = layers.DepthwiseConv2D(3, name="stem_conv", bias_initializer="ones")(images)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(1, name="fpn", bias_initializer="ones")(x))


def fit(model: keras.Model, optimizer: Any, images: np.ndarray, *, batch_size: int, **options: Any) -> None:
    """One epoch, as Keras's own loop does it, compiled."""
    model.compile(optimizer, loss=lambda truth, output: 10 * keras.ops.mean(output))
    model.fit(images, np.zeros(len(images)), batch_size=batch_size, shuffle=False, verbose=0, **options)


def values_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_weights}


def moves(images: np.ndarray = IMAGES[:2], **options: Any) -> dict[str, np.ndarray]:
    """How far each weight of the small model moves in one step, from the same weights each time."""
    keras.utils.set_random_seed(0)
    model = small_model()
    before = values_of(model)
    fit(model, optimizer_of(**{"name": "sgd", "learning_rate": 0.01, **RUN, **options}), images, batch_size=len(images))
    return {path: value - before[path] for path, value in values_of(model).items()}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_a_gradient_kernels_alone_move(name):
    network = small_network(backbone__frozen_stages=0, fpn__norm="live", mask_head__norm="live")
    weights = network.trainable_weights
    before = [keras.ops.convert_to_numpy(weight) + 1.0 for weight in weights]
    for weight, value in zip(weights, before):
        weight.assign(value)  # a bias of 0 would not show that it decays
    optimizer = optimizer_of(name, 0.1, **RUN, weight_decay=0.1, backbone_rate=0.5)
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
    convolutions = (layers.Conv2D, layers.Conv2DTranspose, layers.Dense)
    kernels = {layer.kernel.path for layer in network._flatten_layers() if isinstance(layer, convolutions)}
    assert len(kernels) == 5 + 8 + 3 + 4 + 3  # backbone, pyramid, proposals, box head, mask head
    for weight, value in zip(weights, before):
        kept = (1 - 0.1 * 0.1 * (0.5 if weight.path.startswith("stage") else 1.0)) if weight.name.endswith("kernel") else 1.0
        np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), value * kept, rtol=1e-6)
        assert (kept < 1) == (weight.path in kernels or weight.path == "mask_head/class_kernel")


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_backbone_moves_by_its_part_of_the_rate(name, rate):
    whole, part = moves(name=name, clip_norm=None), moves(name=name, clip_norm=None, backbone_rate=rate)
    assert all(np.any(move) for move in whole.values())
    for path, move in whole.items():
        expected = move if path.startswith("fpn") else rate * move
        np.testing.assert_allclose(part[path], expected, rtol=1e-3, atol=1e-6)
        assert rate or path.startswith("fpn") or not np.any(part[path])


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_two_batches_accumulated_are_one_step_with_the_mean_gradient(name):
    options = {"name": name, "learning_rate": 0.01, "clip_norm": 0.1, "weight_decay": 0.1, "backbone_rate": 0.5, **RUN}
    starts, ends = [], []
    for accumulate, batch_size in ((2, 2), (1, 4)):
        keras.utils.set_random_seed(0)
        model = small_model()
        starts.append(values_of(model))
        optimizer = optimizer_of(**options, accumulate=accumulate)
        fit(model, optimizer, IMAGES, batch_size=batch_size, steps_per_epoch=1)
        unmoved = [np.array_equal(value, starts[-1][path]) for path, value in values_of(model).items()]
        assert all(unmoved) == (accumulate == 2)  # the first of the two batches moves nothing
        keras.utils.set_random_seed(0)
        model = small_model()
        fit(model, optimizer_of(**options, accumulate=accumulate), IMAGES, batch_size=batch_size)  # three updates
        ends.append(values_of(model))
    for path, value in ends[0].items():
        np.testing.assert_array_equal(starts[0][path], starts[1][path])
        assert np.abs(value - starts[0][path]).max() > 1e-4
        np.testing.assert_allclose(value, ends[1][path], rtol=1e-5, atol=1e-6)


def test_no_step_is_longer_than_the_clip_norm():
    for accumulate in (1, 2):
        move = moves(clip_norm=0.5, accumulate=accumulate, images=IMAGES[: 2 * accumulate], weight_decay=0.0)
        if accumulate == 1:
            assert np.isclose(np.sqrt(sum(np.sum(value**2) for value in move.values())), 0.01 * 0.5, rtol=1e-4)
        else:
            assert not any(np.any(value) for value in move.values())  # half an update


class Remember(keras.callbacks.Callback):
    """The weights after each batch, and the averaged ones."""

    def __init__(self):
        super().__init__()
        self.own, self.average, self.any = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # Keras's JAX loop holds the weights elsewhere within an epoch
        self.own.append(values_of(self.model))
        with averaged(self.model) as found:
            self.any.append(found)
            self.average.append(values_of(self.model))
        for path, value in values_of(self.model).items():
            np.testing.assert_array_equal(value, self.own[-1][path])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_forgets_fast_at_first_and_then_by_its_momentum(accumulate):
    """TensorFlow's rule: min(momentum, (1 + n) / (10 + n)) after n updates, the first being the average itself."""
    remember = Remember()
    model = small_model()
    fit(model, optimizer_of("sgd", 0.05, **RUN, ema=0.3, accumulate=accumulate), IMAGES, batch_size=1, callbacks=[remember])
    expected = dict(remember.own[accumulate - 1])
    assert remember.any == [batch + 1 >= accumulate for batch in range(12)]
    for batch in range(12):
        updates = (batch + 1) // accumulate
        if updates > 1 and (batch + 1) % accumulate == 0:
            momentum = min(0.3, (updates - 1) / (updates + 8))
            for path, value in remember.own[batch].items():
                expected[path] = momentum * expected[path] + (1 - momentum) * value
        for path, value in remember.average[batch].items():
            wanted = expected[path] if updates else remember.own[batch][path]
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    for path, value in values_of(model).items():  # `fit` ends with the average in the model
        np.testing.assert_allclose(value, expected[path], rtol=1e-5, atol=1e-6)
        assert not np.allclose(value, remember.own[-1][path], rtol=1e-4)


def test_where_there_is_no_average_the_model_stays_as_it_is():
    model = small_model()
    before = values_of(model)
    fit(model, optimizer_of("sgd", 0.05, **RUN, ema=0.9, accumulate=2), IMAGES, batch_size=12)  # no update yet
    with averaged(model) as found:
        assert not found
    model.compile(optimizer_of("adam", **RUN))
    with averaged(model) as found:
        assert not found
    with averaged(small_model()) as found:  # never compiled
        assert not found
    for path, value in values_of(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_all_of_it_together_trains_a_network_and_survives_the_file(tmp_path):
    with with_small_backbone():
        network = Network(small_config(backbone__frozen_stages=1))
        options = {"batch_size": 2, "num_steps": 50, "schedule": "step", "ema": 0.5, "accumulate": 2, "backbone_rate": 0.0}
        network.compile(optimizer_of("adamw", 0.01, **options))
        before = values_of(network)
        network.fit(Batches([make_batch(num_rows=40)] * 3), verbose=0)
        for path, value in values_of(network).items():
            assert np.array_equal(value, before[path]) == path.startswith("stage"), path
        network.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", {"Network": Network})
    assert loaded.optimizer.get_config() == network.optimizer.get_config()
    assert type(loaded.optimizer) is type(network.optimizer) and loaded.optimizer.backbone_rate == 0.0
    for variable, other in zip(loaded.optimizer.variables, network.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(other))
    assert not loaded.optimizer._use_weight_decay(loaded.fpn.lateral[0].bias)


def rates(steps: list[int], **options: Any) -> np.ndarray:
    schedule = optimizer_of("adam", 1.0, **{"batch_size": 2, "num_steps": 900, "warm_up_steps": 100, **options})._learning_rate
    return np.array([float(compute(schedule, np.array(step))) for step in steps])


def test_the_rate_warms_up_and_follows_its_schedule():
    warm_up = [0.01, 0.505, 1.0]
    np.testing.assert_allclose(rates([0, 50, 100, 500, 5000], schedule="constant"), [*warm_up, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(rates([0, 50, 100, 500, 900], schedule="cosine"), [*warm_up, 0.505, 0.01], rtol=1e-4)
    step = rates([0, 50, 100, 599, 600, 799, 800, 900], schedule="step")
    np.testing.assert_allclose(step, [*warm_up, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-5)
    np.testing.assert_allclose(rates([449, 450, 899], schedule="step", milestones=[0.5]), [1, 0.1, 0.1], rtol=1e-5)
    for schedule in ("cosine", "step", "constant"):
        assert rates([0], schedule=schedule, warm_up_steps=0) == pytest.approx(1.0)
        assert rates([90], schedule=schedule, warm_up_steps=None) == pytest.approx(1.0)  # a tenth of the run


@pytest.mark.parametrize(("name", "batches", "peak"), [("sgd", (1, 1), 0.00125), ("sgd", (4, 4), 0.02), ("adam", (4, 4), 2e-4)])
def test_the_rate_of_sgd_grows_with_the_images_of_an_update(name, batches, peak):
    batch_size, accumulate = batches
    options = {**RUN, "batch_size": batch_size, "accumulate": accumulate}
    assert float(keras.ops.convert_to_numpy(optimizer_of(name, **options).learning_rate)) == pytest.approx(peak)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "lion"}, "possible: adam, adamw, sgd"),
        ({"schedule": "linear"}, "possible: cosine, step, constant"),
        ({"schedule": "step", "milestones": (0.9, 0.5)}, "rising fractions"),
        ({"schedule": "step", "milestones": (0.5, 8)}, "rising fractions"),
        ({"accumulate": 0}, "at least 1; received 0"),
        ({"ema": 1.0}, "less than 1"),
        ({"backbone_rate": -0.1}, "at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, words):
    with pytest.raises(ValueError, match=words) as refusal:
        optimizer_of(**{"name": "sgd", **RUN, **options})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_callbacks_may_set_a_rate_that_follows_a_schedule(schedule):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.1, min_delta=1e9)
    optimizer = make_optimizer(
        RunConfig(optimizer="sgd", learning_rate=0.1, schedule=schedule, warm_up_steps=0), num_steps=100, settable=True
    )
    model = small_model()
    fit(model, optimizer, IMAGES, batch_size=6, epochs=4, callbacks=[Watch(), plateau])
    assert seen[0] == pytest.approx(0.1, rel=0.01)
    assert seen[3] == pytest.approx(seen[2] / 10, rel=1e-4) and seen[3] < 0.002  # it came down twice, and no schedule took over
    again = type(optimizer).from_config(optimizer.get_config())
    again.learning_rate = 0.5
    assert float(keras.ops.convert_to_numpy(again.learning_rate)) == 0.5


def test_a_rate_that_nobody_sets_follows_its_schedule_step_by_step():
    numbers = RunConfig(learning_rate=0.1, warm_up_steps=0)
    plain, settable = (make_optimizer(numbers, num_steps=10, settable=chosen) for chosen in (False, True))
    for step in range(3):
        for optimizer in (plain, settable):
            optimizer.iterations.assign(step)
        rates = [float(keras.ops.convert_to_numpy(optimizer.learning_rate)) for optimizer in (plain, settable)]
        assert rates[0] == pytest.approx(rates[1])
    settable.learning_rate = 0.0  # a rate too, not "nobody's"
    assert float(keras.ops.convert_to_numpy(settable.learning_rate)) == 0.0
