"""Laws of feeding a data set to Keras."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import keras
import numpy as np
import pytest
from keras import ops
from small_data import annotation, moved, write_discs, write_image

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.config.presets import with_channels
from maskrcnn.data.augment import random_flip
from maskrcnn.data.batch import widen
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.loader import make_loader, num_batches
from maskrcnn.data.quiet_grain import grain
from maskrcnn.structures import Batch

CONFIG = replace(
    ModelConfig(categories=(Category(7, "cat"), Category(3, "dog")), image=ImageConfig(short_side=32, long_side=60)),
    mask_head__truth_size=14,
)
SIZES = [(30, 30)] * 4 + [(30, 50), (50, 30), (30, 50), (50, 30), (30, 50), (30, 50), (30, 30)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Eleven images: first four alike, then others of other frames; the last but one has more than 16 objects."""
    folder = tmp_path_factory.mktemp("images")
    images, annotations = [], []
    for image_id, (height, width) in enumerate(SIZES, start=1):
        write_image(folder / f"data/{image_id}.png", (height, width))
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width})
        for place in range(20 if image_id == 10 else image_id % 3):
            annotations.append(annotation(len(annotations) + 1, image_id, **moved(place)))
    categories = [{"id": category.id, "name": category.name} for category in CONFIG.categories]
    (folder / "data.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return load_dataset(folder / "data.json", strict=True)


def same(some, others) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(one[name], other[name]) for one, other in zip(some, others, strict=True) for name in Batch._fields
    )


def test_every_image_comes_once_and_in_order(dataset):
    batches = list(make_loader(dataset, CONFIG, batch_size=4))
    assert [batch["image_ids"].tolist() for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]
    assert all(tuple(batch) == Batch._fields for batch in batches)
    assert len(batches) == num_batches(dataset, 4) == make_loader(dataset, CONFIG, batch_size=4).num_batches


def test_parts_of_batches_are_the_batches(dataset):
    """Each image once in an epoch, in the same order and changed alike, whatever the number of processes that read."""
    options = {"batch_size": 4, "shuffle": True, "seed": 5, "augment": random_flip}
    whole = list(make_loader(dataset, CONFIG, **options))
    parts = [list(make_loader(dataset, CONFIG, **options, part=(part, 2))) for part in range(2)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 3
    for batch, *halves in zip(whole, *parts):
        rows = max(half["valid"].shape[1] for half in (batch, *halves))
        frame = tuple(max(half["images"].shape[axis] for half in (batch, *halves)) for axis in (1, 2))
        batch, *halves = (widen(each, frame, rows, CONFIG.image.place) for each in (batch, *halves))
        for name in Batch._fields:
            if len(batch[name]):
                both = np.concatenate([half[name] for half in halves])
                np.testing.assert_array_equal(both[: len(batch[name])], batch[name], err_msg=name)
                assert not both[len(batch[name]) :].any()  # images of size 0 fill the last one up


def test_batches_for_devices_are_filled_up_with_images_of_size_0(dataset):
    plain, filled = (
        list(loader)
        for loader in (make_loader(dataset, CONFIG, batch_size=4), make_loader(dataset, CONFIG, batch_size=4).for_devices(2))
    )
    assert [len(batch["images"]) for batch in plain] == [4, 4, 3]
    assert [len(batch["images"]) for batch in filled] == [4, 4, 4]
    assert filled[-1]["sizes"][-1].tolist() == [0, 0]
    assert not filled[-1]["valid"][-1].any()
    assert filled[0]["valid"].dtype == filled[0]["crowd"].dtype == np.uint8
    np.testing.assert_array_equal(filled[-1]["boxes"][:3], plain[-1]["boxes"])


def test_shapes_vary_between_batches(dataset):
    batches = list(make_loader(dataset, CONFIG, batch_size=2))
    assert {batch["images"].shape[1:3] for batch in batches} == {(32, 32), (32, 64), (64, 64)}
    assert {batch["boxes"].shape[1] for batch in batches} == {16, 64}


def test_the_same_seed_gives_the_same_batches_and_another_others(dataset):
    options = {"batch_size": 2, "shuffle": True, "augment": random_flip}
    one, again, other = (list(make_loader(dataset, CONFIG, seed=seed, **options)) for seed in (1, 1, 2))
    assert same(one, again) and not same(one, other)
    assert sorted(np.concatenate([batch["image_ids"] for batch in one])) == list(range(1, 12))


def test_worker_processes_give_the_same_batches_in_memory_that_both_share(dataset):
    options = {"batch_size": 2, "shuffle": True, "augment": random_flip, "repeat": True, "seed": 5}
    threads, processes = (iter(make_loader(dataset, CONFIG, num_workers=count, **options)) for count in (0, 2))
    batches = list(itertools.islice(processes, 8))
    assert same(list(itertools.islice(threads, 8)), batches)
    arrays = [batch[name] for batch in batches for name in ("images", "masks")]
    assert all(isinstance(array, grain.multiprocessing.SharedMemoryArray) for array in arrays)
    files = [Path("/dev/shm", array.shm.name) for array in arrays]  # of Linux; elsewhere there is none
    assert len({file.exists() for file in files}) == 1
    del batches, arrays
    until = time.monotonic() + 60
    while any(file.exists() for file in files) and time.monotonic() < until:  # Grain removes them in a thread
        time.sleep(0.05)
    assert not any(file.exists() for file in files)  # gone with the batch
    threads.close()
    processes.close()


def test_a_worker_process_imports_no_keras(dataset, tmp_path):
    options = {"batch_size": 2, "shuffle": True, "weights": [1.0, 2.0] * 5 + [3.0], "augment": random_flip, "part": (0, 2)}
    (tmp_path / "sent").write_bytes(cloudpickle.dumps(make_loader(dataset, CONFIG, num_workers=1, **options)._numbered))
    worker = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))[0]; sys.exit('keras' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", worker, tmp_path / "sent"], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0


def test_each_pass_of_a_repeating_loader_has_all_images_in_another_order(dataset):
    loader = make_loader(dataset, CONFIG, batch_size=11, shuffle=True, repeat=True)
    first, second = itertools.islice(loader, 2)
    assert sorted(first["image_ids"]) == sorted(second["image_ids"]) == list(range(1, 12))
    assert first["image_ids"].tolist() != second["image_ids"].tolist()
    assert loader.num_batches is None


def test_a_repeating_loader_gives_full_batches(dataset):
    loader = make_loader(dataset, CONFIG, batch_size=4, repeat=True)
    batches = [batch["image_ids"].tolist() for batch in itertools.islice(loader, 4)]
    assert batches[2:] == [[9, 10, 11, 1], [2, 3, 4, 5]]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_loader_that_starts_later_goes_on_as_if_it_had_been_there_all_along(dataset, weighted):
    options = {"batch_size": 2, "shuffle": True, "augment": random_flip, "repeat": True, "seed": 3}
    options["weights"] = np.linspace(1, 2, len(dataset)) if weighted else None
    whole = list(itertools.islice(make_loader(dataset, CONFIG, **options), 12))
    rest = make_loader(dataset, CONFIG, start=7, **options)
    assert same(list(itertools.islice(rest, 5)), whole[7:])
    assert same([rest.batch(number) for number in (0, 9)], [whole[0], whole[9]])


def test_weighted_images_come_in_proportion_and_every_pass_is_as_long(dataset):
    weights = np.ones(len(dataset))
    weights[4] = 3.5
    loader = make_loader(dataset, CONFIG, batch_size=11, shuffle=True, repeat=True, weights=weights)
    passes = [batch["image_ids"].tolist() for batch in itertools.islice(loader, 40)]
    counts = [ids.count(5) for ids in passes]
    assert set(counts) == {2, 3} and np.mean(counts) == pytest.approx(11 * 3.5 / 13.5, abs=0.2)
    assert passes[0] != passes[1]
    once = make_loader(dataset, CONFIG, batch_size=11, shuffle=True, weights=weights)
    assert [batch["image_ids"].tolist() for batch in once] == passes[:1]


@pytest.mark.parametrize("weights", [[1.0], [0.0] * 11])
def test_weights_that_fit_no_image_are_an_error(dataset, weights):
    with pytest.raises(ValueError, match="positive number for each of 11 images"):
        make_loader(dataset, CONFIG, batch_size=1, shuffle=True, weights=weights)


def test_images_are_held_only_in_their_batch(dataset):
    list(make_loader(dataset, CONFIG, batch_size=4))
    assert all(sample.image is None for sample in dataset.samples)


def test_categories_of_another_model_are_an_error(dataset):
    other = replace(CONFIG, categories=(Category(1, "bird"),))
    with pytest.raises(ValueError, match=r"\['cat', 'dog'\], the model \['bird'\]"):
        make_loader(dataset, other, batch_size=1)


class Brightness(keras.Model):
    """Learns one number; reads every field of a batch, whatever its shape."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, batch):
        read = sum(ops.sum(ops.cast(value, "float32")) for value in batch.values())
        return self.scale * ops.mean(ops.cast(batch["images"], "float32"), axis=(1, 2, 3)) + 0 * read

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y_pred))


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PyTorch in Keras's `predict`
@pytest.mark.parametrize("image", [{"resize": "torchvision", "frame": "tight"}, {"frame": "square", "place": "centre"}])
def test_keras_sees_the_frames_of_each_source_unchanged(dataset, image):
    config = replace(CONFIG, **{f"image__{name}": value for name, value in image.items()})
    model = Brightness()
    model.compile(keras.optimizers.SGD(1e-6))
    batches = make_loader(dataset, config, batch_size=2)
    means = np.concatenate([batch["images"].mean(axis=(1, 2, 3), dtype=np.float64) for batch in batches])
    np.testing.assert_allclose(model.predict(batches, verbose=0), means, rtol=1e-5)  # torchvision's fractions too
    assert np.isfinite(model.fit(batches, epochs=1, verbose=0).history["loss"]).all()


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PyTorch in Keras's `predict`
def test_keras_fits_evaluates_and_predicts_on_batches_of_many_shapes(dataset):
    model = Brightness()
    model.compile(keras.optimizers.SGD(1e-6))
    training = make_loader(dataset, CONFIG, batch_size=2, shuffle=True, augment=random_flip, repeat=True)
    validation = make_loader(dataset, CONFIG, batch_size=2)  # its first two batches are alike, the third is not
    history = model.fit(training, steps_per_epoch=num_batches(dataset, 2), epochs=2, validation_data=validation, verbose=0)
    assert np.isfinite(history.history["loss"]).all() and len(history.history["val_loss"]) == 2
    assert history.history["val_loss"][1] < history.history["val_loss"][0]
    assert float(model.evaluate(validation, verbose=0)) == pytest.approx(float(history.history["val_loss"][1]), rel=1e-5)
    assert model.predict(validation, verbose=0).shape == (11,)


def test_batches_have_the_models_channels_each_stretched_by_itself(tmp_path):
    dataset = load_dataset(write_discs(tmp_path / "cells", count=3, channels=2))
    rgb = ModelConfig(dataset.categories, image=ImageConfig(short_side=72, long_side=120))
    loader = make_loader(dataset, with_channels(rgb, 2), batch_size=3, augment=random_flip)
    (batch,) = loader
    assert batch["images"].shape[3] == loader._signature["images"].shape[3] == 2
    assert (batch["images"].max(axis=(1, 2)) == 255).all() and (batch["valid"].sum(axis=1) == 3).all()
    with pytest.raises(ValueError, match=r"0.tif: an image for a model of 3 channels"):
        make_loader(dataset, rgb, batch_size=3).batch(0)


def test_without_jax_nothing_is_said_of_it_and_other_warnings_stay():
    code = (
        "import sys, absl.logging; sys.modules['jax'] = sys.modules['jax.profiler'] = None\n"
        "import maskrcnn.data.quiet_grain\nabsl.logging.warning('jax profiler')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.splitlines() == ["WARNING:absl:jax profiler"]
