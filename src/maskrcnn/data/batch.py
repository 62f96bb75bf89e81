"""Makes the batch that the model trains on out of samples whose images are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import choose_frame, fit_for_training, offset_in_frame, pad_to_frame
from maskrcnn.geometry.cutouts import crop_masks
from maskrcnn.structures import INCOMPLETE, SAID_ABSENT, Batch, Sample

ROW_COUNTS = (16, 64, 256, 1024)  # rows of truth a batch may have: few, so that few shapes are compiled


def make_batch(samples: Sequence[Sample], model_config: ModelConfig, empty: Callable[..., np.ndarray] = np.empty) -> Batch:
    """Resizes the images, pads them to one frame and their truth to one number of rows, and crops each mask to its box.

    Args:
        samples: read samples; those without objects have no valid row, and those that are `fitted` keep their size.
        model_config: gives the sides, the frames and the side of a true mask.
        empty: makes the arrays of images and masks, of (shape, type): where another process can read them, say.

    Returns:
        NumPy arrays; images uint8, four times less to move than floats, unless the way of resizing gives floats.

    Raises:
        ValueError: for an image that has changed its size since its annotations were read; for a fitted one that no frame
            holds.
    """
    fitted = []
    for sample in samples:
        assert sample.image is not None
        if sample.image.shape[:2] != sample.size:
            raise ValueError(
                f"{sample.path} had height, width {sample.size} when it was checked; now {sample.image.shape[:2]}."
            )
        fitted.append(sample.image if sample.fitted else fit_for_training(sample.image, model_config.image))
    place = model_config.image.place
    frame = _cropped_for(samples) or choose_frame([image.shape[:2] for image in fitted], model_config.image)
    kind = np.float32 if model_config.image.resize == "torchvision" else np.uint8
    images = empty((len(fitted), *frame, model_config.image.channels), kind)
    for padded, image in zip(images, fitted, strict=True):
        pad_to_frame(image, frame, place, out=padded)
    shape = len(samples), num_rows(max(len(sample.labels) for sample in samples))
    side, num_keypoints = model_config.mask_head.truth_size, model_config.keypoint_head.num_keypoints
    batch = Batch(
        images=images,
        sizes=np.array([image.shape[:2] for image in fitted], np.int32),
        boxes=np.zeros((*shape, 4), np.float32),
        labels=np.zeros(shape, np.int32),
        masks=empty((*shape, side, side), np.uint8),
        crowd=np.zeros(shape, bool),
        valid=np.zeros(shape, bool),
        image_ids=np.array([sample.image_id for sample in samples], np.int64),
        keypoints=np.zeros((*shape, num_keypoints, 3), np.float32) if num_keypoints else (),
        class_marks=_class_marks(samples, model_config),
    )
    for index, (sample, image) in enumerate(zip(samples, fitted, strict=True)):
        count = len(sample.labels)
        stretch = np.array(image.shape[1::-1], np.float32) / sample.size[::-1]  # x, y; rounding makes them differ a little
        offset = offset_in_frame(image.shape[:2], frame, place)[::-1]  # x, y
        batch.boxes[index, :count] = sample.boxes * np.tile(stretch, 2) + np.tile(offset, 2)
        batch.labels[index, :count] = sample.labels
        batch.crowd[index, :count] = sample.crowd
        batch.valid[index, :count] = True
        if num_keypoints and sample.keypoints is not None:
            moved = np.array([*stretch, 1], np.float32), np.array([*offset, 0], np.float32)
            batch.keypoints[index, :count] = sample.keypoints * moved[0] + moved[1]
        batch.masks[index, count:] = 0
        if count:  # from the original pixels: resizing first would blur them twice
            batch.masks[index, :count] = crop_masks(sample.rles, sample.boxes, side)
    return batch


def _class_marks(samples: Sequence[Sample], model_config: ModelConfig) -> np.ndarray | tuple[()]:
    """Of a batch, see `Batch.class_marks`."""
    if model_config.box_head.class_loss != "federated":
        return ()
    marks = np.zeros((len(samples), model_config.num_classes), np.uint8)
    for row, sample in zip(marks, samples, strict=True):
        row[list(sample.absent)] = SAID_ABSENT
        row[list(sample.incomplete)] = INCOMPLETE
    return marks


def widen(batch: dict[str, np.ndarray], frame: tuple[int, int], rows: int, place: str) -> dict[str, np.ndarray]:
    """A batch in a frame and with a number of rows that are no smaller than its own.

    Args:
        batch: the fields of a `Batch` by name.
        frame: (height, width).
        rows: of truth.
        place: where images lie in a frame, see `ImageConfig.place`.
    """
    wide = dict(batch)
    own = (batch["images"].shape[1], batch["images"].shape[2])
    moved = np.array(offset_in_frame(own, frame, place)[::-1], np.float32)  # x, y
    wide["images"] = np.stack([pad_to_frame(image, frame, place) for image in batch["images"]])
    wide["boxes"] = batch["boxes"] + np.tile(moved, 2) * batch["valid"][..., None]
    if len(batch["keypoints"]):
        wide["keypoints"] = batch["keypoints"] + np.append(moved, np.float32(0)) * batch["valid"][..., None, None]
    missing = rows - batch["valid"].shape[1]
    for name in ("boxes", "labels", "masks", "crowd", "valid", "keypoints") if missing else ():
        array = wide[name]
        if not len(array):  # a model without keypoints has none of them
            continue
        wide[name] = np.concatenate([array, np.zeros((len(array), missing, *array.shape[2:]), array.dtype)], axis=1)
    return wide


def _cropped_for(samples: Sequence[Sample]) -> tuple[int, int] | None:
    """The frame that all the samples were cropped for; a frame of whole images would be mostly padding around small crops."""
    frames = {sample.frame for sample in samples}
    return frames.pop() if len(frames) == 1 else None


def num_rows(num_objects: int) -> int:
    """The least of `ROW_COUNTS` that holds so many objects; above them the next multiple of the last."""
    last = ROW_COUNTS[-1]
    return next((count for count in ROW_COUNTS if count >= num_objects), -(-num_objects // last) * last)
