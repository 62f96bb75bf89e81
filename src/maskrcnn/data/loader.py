"""Feeds a data set to `keras.Model.fit`: Grain reads, shuffles, augments and batches in threads or worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from absl import flags
from keras.src.trainers.data_adapters.grain_dataset_adapter import GrainDatasetAdapter

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.augment import Augment, Augmentation
from maskrcnn.data.batch import widen
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.quiet_grain import grain
from maskrcnn.data.reading import read_part
from maskrcnn.data.resize import possible_frames
from maskrcnn.data.stream import PASSES, Draws, Part, batched
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
        numbered: grain.MapDataset,
        batch_size: int,
        num_batches: int | None,
        signature: dict[str, keras.KerasTensor],
    ) -> None:
        self._numbered = numbered
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
            numbered=self._numbered.map(partial(_only, names=names)),
            batch_size=self._known_batch_size,
            num_batches=self._num_batches,
            signature=_only(self._signature, names),
        )

    def for_devices(self, count: int) -> Loader:
        """The same batches for so many devices: the last is filled up to a multiple, and bools are uint8.

        Images of size 0 fill it, which count nothing. TensorFlow's strategies average a first batch, and no bools.
        """
        if count == 1:
            return self
        change = partial(_shared, count=count)
        flags = {name: keras.KerasTensor(self._signature[name].shape, "uint8") for name in ("crowd", "valid")}
        return Loader(
            self._dataset.map(change),
            numbered=self._numbered,
            batch_size=self._known_batch_size,
            num_batches=self._num_batches,
            signature=self._signature | flags,
        )

    def as_wide_as(self, greatest: Callable[[list[int]], list[int]], place: str) -> Loader:
        """The same batches, as high, as wide and with as many rows as those that other processes have at the same time.

        Args:
            greatest: asks all processes for the greatest of each number.
            place: where images lie in a frame, see `ImageConfig.place`.
        """
        return Loader(
            self._dataset.map(partial(_widened, greatest=greatest, place=place)),
            numbered=self._numbered,
            batch_size=self._known_batch_size,
            num_batches=self._num_batches,
            signature=self._signature,
        )

    def batch(self, number: int) -> dict[str, Any]:
        """The batch of this number, made anew: whatever `start` was, 0 is the very first of the training."""
        return self._numbered[number]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._dataset)


def make_loader(
    dataset: Dataset,
    model_config: ModelConfig,
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    augment: Augment | None = None,
    weights: Sequence[float] | None = None,
    num_workers: int = 0,
    repeat: bool = False,
    start: int = 0,
    fast_decode: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Loader:
    """Reads a data set's images and makes batches of them, some ahead of need. The same seed gives the same batches.

    For training: `fit(make_loader(…, shuffle=True, augment=random_flip, repeat=True), steps_per_epoch=num_batches(…))`.

    Args:
        dataset: what to read; its labels count in the model's categories.
        model_config: sides, frames and the side of true masks.
        batch_size: images a batch; without `repeat` the last batch has what is left.
        shuffle: each pass in another order.
        seed: of order, draws and augmentation.
        augment: changes each image with its truth, see `maskrcnn.data.augment`; given the read sample and a generator, which
            depends on the seed and the sample's turn alone.
        weights: how often each image comes, relative to the others, in a pass as long as without weights: LVIS's
            repeat-factor sampling, `maskrcnn.data.imbalance`. Needs `shuffle`.
        num_workers: processes that read; 0 reads in threads of this process. The batches are the same. Processes are spawned: a
            script that asks for them keeps its own work under `if __name__ == "__main__":`.
        repeat: never end. Passes follow each other without a seam, so that every batch is full.
        start: number of the first batch, where a training goes on that was cut short.
        fast_decode: decode JPEGs at a fraction of their size where the model sees them so small, see `read_reduced`.
        part: which part of each batch this process reads, from 0, and of how many. All have as many batches, of as many rows:
            in a last one that does not divide, rows are images of size 0, which count nothing.

    Raises:
        ValueError: if the data set's categories are not the model's; for weights that fit no image.
    """
    names, wanted = ([category.name for category in part.categories] for part in (dataset, model_config))
    if names != wanted:
        raise ValueError(f"{dataset.name} has the classes {names}, the model {wanted}; `with_categories` translates them.")
    _check_keypoints(dataset, model_config)
    if weights is not None:
        if not shuffle or len(weights) != len(dataset) or not np.min(weights) > 0:
            raise ValueError(
                f"weights need shuffle=True and a positive number for each of {len(dataset)} images; received {len(weights)}."
            )
        samples = grain.MapDataset.source(Draws(dataset.samples, weights, seed=seed, endless=repeat)).seed(seed)
    else:
        samples = grain.MapDataset.source(dataset.samples).seed(seed)
        samples = samples.shuffle() if shuffle else samples
        samples = samples.repeat(PASSES) if repeat else samples
    own = augment if isinstance(augment, Augmentation) else None
    reading: dict[str, Any] = {"crop_side": own.config.crop_side if own else 0, "image_config": model_config.image}
    if fast_decode:
        reading["zoom"] = own.largest_zoom if own else 1.0
    samples = samples.random_map(partial(read_part, **reading))
    if augment is not None:
        samples = samples.random_map(augment)
    own_size = batch_size // part[1]
    if part[1] > 1:
        samples = Part(samples, part[0], own_size, batch_size)
    numbered = batched(samples, own_size, model_config, np.empty)
    batches = numbered
    num_threads = min(os.cpu_count() or 1, MAX_THREADS)
    if num_workers:  # what a worker read ahead in threads of its own would be left behind in shared memory at the end
        batches, num_threads = batched(samples, own_size, model_config, grain.multiprocessing.SharedMemoryArray), 0
    batches = batches.slice(slice(start, None)) if start else batches
    stream = batches.to_iter_dataset(grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads))
    if num_workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers ask absl for flags, which refuses before a command line was read
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))
    return Loader(
        stream,
        numbered=numbered,
        batch_size=own_size,
        num_batches=None if repeat else num_batches(dataset, batch_size),
        signature=_signature(model_config, augmented=augment is not None),
    )


def _check_keypoints(dataset: Dataset, model_config: ModelConfig) -> None:
    wanted = model_config.keypoint_head.num_keypoints
    if not wanted:
        return  # and look at no sample, whose image a script's data set may load
    found = {0 if sample.keypoints is None else sample.keypoints.shape[1] for sample in dataset.samples}
    if not found & {wanted} or found - {0, wanted}:
        counts = ", ".join(map(str, sorted(found)))
        raise ValueError(
            f"The model finds {wanted} keypoints of an object, and the objects of {dataset.name or 'the data'} have {counts}; "
            "set keypoint_head.num_keypoints to that."
        )


def num_batches(dataset: Dataset, batch_size: int) -> int:
    """Batches that one pass over a data set takes, the last perhaps not full: `steps_per_epoch` of a repeating loader."""
    return -(-len(dataset) // batch_size)


def _only(batch: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: batch[name] for name in names}


def _widened(batch: dict[str, Any], greatest: Callable[[list[int]], list[int]], place: str) -> dict[str, Any]:
    height, width, rows = greatest([*batch["images"].shape[1:3], batch["valid"].shape[1]])
    return widen(batch, (height, width), rows, place)


def _shared(batch: dict[str, Any], count: int) -> dict[str, Any]:
    missing = -len(batch["images"]) % count
    flags = {name: batch[name].astype(np.uint8) for name in ("crowd", "valid")}
    return {
        name: np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing and len(array) else array
        for name, array in (batch | flags).items()
    }


def _signature(model_config: ModelConfig, *, augmented: bool) -> dict[str, keras.KerasTensor]:
    """Shape and kind of each array of a batch; None is a side that varies."""
    frames = () if augmented else possible_frames(model_config.image)  # crops have frames of their own
    heights, widths = ({frame[axis] for frame in frames} for axis in (0, 1))
    height, width = (sides.pop() if len(sides) == 1 else None for sides in (heights, widths))
    kind = "float32" if model_config.image.resize == "torchvision" else "uint8"
    side, num_keypoints = model_config.mask_head.truth_size, model_config.keypoint_head.num_keypoints
    return Batch(
        images=keras.KerasTensor((None, height, width, model_config.image.channels), kind),
        sizes=keras.KerasTensor((None, 2), "int32"),
        boxes=keras.KerasTensor((None, None, 4), "float32"),
        labels=keras.KerasTensor((None, None), "int32"),
        masks=keras.KerasTensor((None, None, side, side), "uint8"),
        crowd=keras.KerasTensor((None, None), "bool"),
        valid=keras.KerasTensor((None, None), "bool"),
        image_ids=keras.KerasTensor((None,), "int64"),
        keypoints=keras.KerasTensor((None, None, num_keypoints, 3), "float32") if num_keypoints else (),
        class_marks=keras.KerasTensor((None, model_config.num_classes), "uint8")
        if model_config.box_head.class_loss == "federated"
        else (),
    )._asdict()
