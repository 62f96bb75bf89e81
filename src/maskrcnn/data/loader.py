"""Feeds a data set to `keras.Model.fit`: Grain reads, shuffles, flips and batches in threads or worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import grain
import keras
from absl import flags
from keras.src.trainers.data_adapters.grain_dataset_adapter import GrainDatasetAdapter

from maskrcnn.config import ModelConfig
from maskrcnn.data.augment import random_flip
from maskrcnn.data.batch import make_batch
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.objects import read_sample
from maskrcnn.data.resize import possible_frames
from maskrcnn.structures import Batch

MAX_THREADS = 8  # a reading process; beyond, Python's lock is busy


class Loader(GrainDatasetAdapter):
    """Batches as dicts of the names in `Batch`, for a `for` loop and for `fit`, `evaluate` and `predict` of a Keras model.

    Keras takes a Grain data set as it is, but looks at its first two batches and takes each side that is the same in both for
    fixed; on TensorFlow the first batch of another frame or number of rows is then an error. So this is Keras's own adapter,
    told which sides vary. (`keras.utils.PyDataset` and generators are looked at in the same way.)

    Attributes:
        num_batches: batches in one pass; None if the loader never ends.
    """

    def __init__(
        self,
        batches: grain.IterDataset,
        *,
        batch_size: int,
        num_batches: int | None,
        signature: dict[str, keras.KerasTensor],
    ) -> None:
        self._signature = signature
        self._known_batch_size = batch_size
        self._num_batches = num_batches
        super().__init__(batches)

    def _get_dataset_info(self, dataset: grain.IterDataset) -> tuple[int, dict[str, keras.KerasTensor]]:
        return self._known_batch_size, self._signature

    @property
    def num_batches(self) -> int | None:
        return self._num_batches

    def without_truth(self) -> Loader:
        """The same batches, `images` and `sizes` alone: asked for detections instead of losses."""
        names = ("images", "sizes")
        return Loader(
            self._dataset.map(partial(_only, names=names)),
            batch_size=self._known_batch_size,
            num_batches=self._num_batches,
            signature=_only(self._signature, names),
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._dataset)


def make_loader(
    dataset: Dataset,
    model_config: ModelConfig,
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    flip: bool = False,
    num_workers: int = 0,
    repeat: bool = False,
) -> Loader:
    """Reads a data set's pictures and makes batches of them, some ahead of need. The same seed gives the same batches.

    For training: `fit(make_loader(…, shuffle=True, flip=True, repeat=True), steps_per_epoch=num_batches(dataset, batch_size))`.

    Args:
        dataset: what to read; its labels count in the model's categories.
        model_config: sides, frames and the side of true masks.
        batch_size: pictures a batch; without `repeat` the last batch has what is left.
        shuffle: each pass in another order.
        seed: of order and flips.
        flip: mirror every other picture, at random.
        num_workers: processes that read; 0 reads in threads of this process. The batches are the same. Processes are spawned: a
            script that asks for them keeps its own work under `if __name__ == "__main__":`.
        repeat: never end. Passes follow each other without a seam, so that every batch is full.

    Raises:
        ValueError: if the data set's categories are not the model's.
    """
    names, wanted = ([category.name for category in part.categories] for part in (dataset, model_config))
    if names != wanted:
        raise ValueError(f"{dataset.name} has the classes {names}, the model {wanted}; `with_categories` translates them.")
    samples = grain.MapDataset.source(dataset.samples).seed(seed)
    if shuffle:
        samples = samples.shuffle()
    if repeat:
        samples = samples.repeat()
    samples = samples.map(read_sample)
    if flip:
        samples = samples.random_map(random_flip)
    batches = samples.batch(batch_size, batch_fn=partial(make_batch, model_config=model_config)).map(Batch._asdict)
    num_threads = 1 if num_workers else min(os.cpu_count() or 1, MAX_THREADS)
    stream = batches.to_iter_dataset(grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads))
    if num_workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers ask absl for flags, which refuses before a command line was read
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))
    return Loader(
        stream,
        batch_size=batch_size,
        num_batches=None if repeat else num_batches(dataset, batch_size),
        signature=_signature(model_config),
    )


def num_batches(dataset: Dataset, batch_size: int) -> int:
    """Batches that one pass over a data set takes, the last perhaps not full: `steps_per_epoch` of a repeating loader."""
    return -(-len(dataset) // batch_size)


def _only(batch: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: batch[name] for name in names}


def _signature(model_config: ModelConfig) -> dict[str, keras.KerasTensor]:
    """Shape and kind of each array of a batch; None is a side that varies."""
    frames = possible_frames(model_config.image)
    heights, widths = ({frame[axis] for frame in frames} for axis in (0, 1))
    height, width = (sides.pop() if len(sides) == 1 else None for sides in (heights, widths))
    kind = "float32" if model_config.image.resize == "torchvision" else "uint8"
    side = model_config.mask_head.truth_size
    return Batch(
        images=keras.KerasTensor((None, height, width, 3), kind),
        sizes=keras.KerasTensor((None, 2), "int32"),
        boxes=keras.KerasTensor((None, None, 4), "float32"),
        labels=keras.KerasTensor((None, None), "int32"),
        masks=keras.KerasTensor((None, None, side, side), "uint8"),
        crowd=keras.KerasTensor((None, None), "bool"),
        valid=keras.KerasTensor((None, None), "bool"),
        image_ids=keras.KerasTensor((None,), "int64"),
    )._asdict()
