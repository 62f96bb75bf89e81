"""Images detected whole, in batches, and rows of the frame taken back to original pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import offset_in_frame
from maskrcnn.geometry.keypoints import peaks
from maskrcnn.inference.batches import prepared_batches
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.given import each_image
from maskrcnn.structures import ChecksMemory, Detector, Finder, PaddedDetections

AUTO = "auto"  # of each class the best score that the model holds
Score = float | Literal["auto"] | None


def detect(model: Detector | Finder, images: Any, *, batch_size: int = 1, score: Score = None) -> Iterator[Detections]:
    """Finds objects, image by image. Few batches of images are held in memory: those that threads get ready meanwhile.

    Args:
        model: a `MaskRCNN`, an engine, or an `Ensemble`.
        images: a path, a folder or a glob; the bytes of an image file, or an open one; an (H, W, C) or (H, W) array or tensor
            of values from 0 to 255, a (B, H, W, C) one, an image of Pillow, a `Plane`; or an iterable of those, which a thread
            reads a little ahead. The planes of a volume are `maskrcnn.read_planes(path)`. C is the model's
            `config.image.channels`, see `to_channels`.
        batch_size: images that go through the model together.
        score: least score, from 0 to 1; the model's own where None; `"auto"`: of each class the best, see `least_scores`.

    Yields:
        `Detections` in original pixels, in the order of the images. They hold the image where `images` is a list of arrays, or
        one, which the caller has in memory anyway.

    Raises:
        ValueError: for an array that is no image, or a file that cannot be read.
        MemoryError: a batch would not fit in memory; one line that says what would. Told before the model begins with it.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; received {batch_size}.")
    check_score(score)
    if not isinstance(model, Detector):
        yield from model.detect(images, batch_size=batch_size, score=score)  # type: ignore[misc]
        return
    least = least_scores(score, model.config)
    frames: set[tuple[int, int]] = set()
    with closing(prepared_batches(each_image(images), model.config, batch_size)) as batches:  # type: ignore[type-var]
        for batch in batches:
            frame = (batch.images.shape[1], batch.images.shape[2])
            if frame not in frames and isinstance(model, ChecksMemory):
                model.check_memory(frame, batch_size)
            frames.add(frame)
            answer = PaddedDetections(*model.predict_on_batch({"images": batch.images, "sizes": batch.sizes}))
            for row, (size, path, image) in enumerate(batch.originals):
                found = original(answer, row, batch.sizes[row], frame, size, model.config, score=least, path=path)
                yield found if image is None else replace(found, image=image)


def least_scores(score: Score, config: ModelConfig) -> float | np.ndarray | None:
    """What a least score means for a model: a number for all classes, or `"auto"`, (K,) float64 the best of each.

    The best scores are those of `config.detect.best_scores`: `maskrcnn evaluate --save-scores` writes them into a model.

    Raises:
        ValueError: as `check_score`, and for `"auto"` where the model holds none.
    """
    check_score(score)
    if not isinstance(score, str):
        return score
    if not config.detect.best_scores:
        raise ValueError(
            'The model holds no best scores for score="auto"; write them into it with maskrcnn evaluate --model MODEL '
            "--data DATA --save-scores, or give a number such as 0.5."
        )
    return np.array(config.detect.best_scores, np.float64)


def reach(scores: np.ndarray, labels: np.ndarray, least: float | np.ndarray) -> np.ndarray:
    """(N,) bool: whether scores (N,) of labels (N,) are at least `least`, of all classes or (K,) of each."""
    return scores >= (least[labels] if isinstance(least, np.ndarray) else least)


def check_score(score: object) -> None:
    """Refuses a least score that is neither a number from 0 to 1 nor `"auto"`; None is the model's own.

    Raises:
        ValueError: for anything else, a percentage or a text, say.
    """
    is_number = isinstance(score, (int, float, np.integer, np.floating)) and not isinstance(score, bool)
    if score is None or (isinstance(score, str) and score == AUTO):
        return
    if not (is_number and 0.0 <= score <= 1.0):  # type: ignore[operator]
        raise ValueError(f'score is a number from 0 to 1, such as 0.5, or "auto"; received {score!r}.')


def original(
    answer: PaddedDetections,
    row: int,
    size: Any,
    frame: tuple[int, int],
    original_size: tuple[int, int],
    config: ModelConfig,
    *,
    score: float | np.ndarray | None = None,
    path: str | None = None,
) -> Detections:
    """One image's detections, from pixels of the frame to pixels of the original.

    Args:
        answer: NumPy arrays.
        row: which image of the batch.
        size: (height, width) of the image in the frame.
        frame: (height, width) of the frame.
        original_size: (height, width) of the image itself.
        config: of the model: the names of the classes, where the image lies in its frame, what a box's end means.
        score: least score, of all classes or (K,) of each; None keeps all.
    """
    boxes = original_boxes(answer.boxes[row], size, frame, original_size, config)
    keep = answer.valid[row]
    if score is not None:
        keep = keep & reach(answer.scores[row], answer.labels[row], score)
    if config.anchors.ends == "last_pixel":
        keep = keep & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # matterport drops what rounding left without area
    return Detections(
        boxes=np.asarray(boxes[keep], np.float32),
        scores=np.asarray(answer.scores[row][keep], np.float32),
        labels=np.asarray(answer.labels[row][keep], np.int32),
        small_masks=np.asarray(answer.masks[row][keep], np.float32),
        size=(int(original_size[0]), int(original_size[1])),
        class_names=config.class_names,
        path=path,
        paste=config.mask_head.paste,
        **keypoints_in(answer, row, keep, size, frame, original_size, config),
    )


def keypoints_in(
    answer: PaddedDetections,
    row: int,
    keep: np.ndarray,
    size: Any,
    frame: tuple[int, int],
    original_size: tuple[int, int],
    config: ModelConfig,
) -> dict[str, Any]:
    """What `Detections` hold of keypoints, in pixels of the original; nothing where the model has none.

    Args:
        answer, row, size, frame, original_size, config: as for `original`.
        keep: (N,) bool, which detections.
    """
    if not config.keypoint_head.num_keypoints:
        return {}
    found = peaks(np.asarray(answer.heat_maps[row][keep], np.float32), np.asarray(answer.boxes[row][keep], np.float32))
    old, new, offset = (
        np.array(pair[::-1], np.float32)  # x, y
        for pair in (size, original_size, offset_in_frame(size, frame, config.image.place))
    )
    found[..., :2] = (found[..., :2] - offset) * (new / old)
    return {"keypoints": found, "keypoint_names": config.keypoint_names, "skeleton": config.skeleton}


def original_boxes(
    boxes: np.ndarray, size: Any, frame: tuple[int, int], original_size: tuple[int, int], config: ModelConfig
) -> np.ndarray:
    """(N, 4) boxes in pixels of the frame to pixels of the original, x2 and y2 at the edge of the last pixel."""
    old, new, offset = (
        np.tile(np.array(pair[::-1], np.float64), 2)  # x, y, x, y
        for pair in (size, original_size, offset_in_frame(size, frame, config.image.place))
    )
    if config.anchors.ends == "last_pixel":  # whole pixels, half to even: matterport's `unmold_detections`
        return np.round((boxes - offset) * (new - 1) / np.maximum(old - 1, 1) + [0, 0, 1, 1])
    return (boxes - offset.astype(np.float32)) * (new / old).astype(np.float32)
