"""A finished model as one file or folder for other runtimes: images in, detections with masks out.

What is written is run at once on real images beside the Keras model, and only kept where both say the same.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from maskrcnn import engines
from maskrcnn.exporting import litert, onnx, openvino, saved_model, torch_export
from maskrcnn.inference.whole import detect
from maskrcnn.structures import Detections, Detector
from maskrcnn.weights.published import SHIPPED

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN

Format = Literal[
    "saved-model",
    "openvino",
    "litert",
    "onnx",
    "torch",
]
Precision = Literal[
    "float32",
    "float16",
    "bfloat16",
    "int8",
]
WRITERS: dict[str, Any] = {  # modules of `exporting`
    "saved-model": saved_model,
    "openvino": openvino,
    "litert": litert,
    "onnx": onnx,
    "torch": torch_export,
}
CERTAIN = 0.5  # detections of at least this score are compared; of doubtful ones some come or go by a rounding


class Difference(NamedTuple):
    """The most by which two models' answers differ, of the detections of at least `CERTAIN`."""

    objects: int  # that the Keras model finds
    unmatched: int  # that only one of both finds; as a limit: of each 30
    boxes: float  # pixels of the original
    scores: float
    mask_iou: float  # the least
    keypoints: float = 0.0  # pixels of the original, of an object's median keypoint


# What an export may differ by. float32: the same answers. Weights in half precision have 11 bits, and at NMS's threshold one of
# two boxes may win that lost before. Layers in bfloat16 have 8 bits, in int8 as many for the whole range of a layer's values.
LIMITS = {
    "float32": Difference(0, 0, 0.1, 1e-3, 0.99, 1.5),
    "float16": Difference(0, 1, 2.0, 0.02, 0.9, 2.0),
    "bfloat16": Difference(0, 2, 4.0, 0.25, 0.5, 4.0),
    "int8": Difference(0, 3, 8.0, 0.5, 0.4, 8.0),
}


def export(
    model: MaskRCNN,
    out: str | Path,
    *,
    format: Format,
    precision: Precision = "float32",
    images: Iterable[str | Path] = (),
    calibrate: Iterable[str | Path] = (),
    log: Callable[[str], None] = print,
) -> Difference:
    """Exports a model to another runtime, including classes and preprocessing, and checks it.

    Args:
        model: a `MaskRCNN` on the backend that the format is written from: PyTorch for torch, else TensorFlow.
        out: the folder or file to write. It appears complete, or if the check fails not at all.
        format: `"saved-model"`, a folder for plain TensorFlow; `"openvino"`, a folder with `model.xml` and `model.bin`;
            `"litert"`, a file `*.tflite`; `"onnx"`, a file `*.onnx`; `"torch"`, a file `*.pt2`.
        precision: float16 applies to the weights in the file, and layers compute in float32; with bfloat16 and int8, layers
            compute in them if the processor can, while boxes and scores stay in float32.
        images: for the check; by default those of the included model.
        calibrate: for int8: about a hundred images like those the model will see, to determine the ranges of its layers.
        log: receives the largest differences.

    Returns:
        The largest differences, over all images.

    Raises:
        ValueError: answers differ by more than `LIMITS`, or that format or precision cannot be had.
        ImportError: what writes the format is not installed.
    """
    import keras

    if format not in WRITERS:
        raise ValueError(f"Models are exported as {', '.join(WRITERS)}; received {format!r}.")
    writer = WRITERS[format]
    if precision not in writer.PRECISIONS:
        raise ValueError(f"{format} is written in {', '.join(writer.PRECISIONS)}; received {precision!r}.")
    if (backend := keras.backend.backend()) != writer.BACKEND:
        raise ValueError(f"{format} is written from {writer.BACKEND}; this is {backend}. Set KERAS_BACKEND={writer.BACKEND}.")
    calibrate = list(calibrate)
    if (precision == "int8" and writer.CALIBRATED) != bool(calibrate):
        calibrated = ", ".join(name for name, module in WRITERS.items() if module.CALIBRATED)
        raise ValueError(
            f"int8 of {calibrated}, and nothing else, is calibrated, on a hundred or so images like those that the model "
            f"sees (--calibrate DIR); received {format} in {precision} and {len(calibrate)} images."
        )
    out, images = Path(out), list(images) or [SHIPPED["nuclei"].with_suffix(".png")]
    if writer.SUFFIX and out.suffix != writer.SUFFIX:
        raise ValueError(f"{format} is one file, whose name ends in {writer.SUFFIX}; received {out}.")
    if out.exists():
        raise ValueError(f"{out} is there already; export to a new name, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        unfinished = Path(folder) / out.name
        options = {"calibrate": calibrate} if calibrate else {}
        writer.write(model, unfinished, precision, **options)
        found = compare(model, engines.load(unfinished), images)
        moved = f", keypoints by {found.keypoints:.2f} pixels" if model.config.keypoint_head.num_keypoints else ""
        log(
            f"{format}, {precision}, beside Keras (images: {len(images)}, objects: {found.objects}): boxes differ by "
            f"at most {found.boxes:.4f} pixels, scores by {found.scores:.5f}{moved}, masks' least IoU {found.mask_iou:.4f}; "
            f"{found.unmatched} found by one alone"
        )
        _check(found, precision)
        os.replace(unfinished, out)
    return found


def compare(model: Detector, other: Detector, images: Iterable[Any]) -> Difference:
    """By how much the answers of two models differ on images, which either takes as `MaskRCNN.detect` does."""
    found = Difference(0, 0, 0.0, 0.0, 1.0)
    for image in images:
        first, second = (next(detect(each, [image], score=model.config.detect.score)) for each in (model, other))
        one = _difference(first, second)
        found = Difference(
            objects=found.objects + one.objects,
            unmatched=found.unmatched + one.unmatched,
            boxes=max(found.boxes, one.boxes),
            scores=max(found.scores, one.scores),
            mask_iou=min(found.mask_iou, one.mask_iou),
            keypoints=max(found.keypoints, one.keypoints),
        )
    return found


def _difference(first: Detections, second: Detections) -> Difference:
    """Each certain detection beside the nearest box of its class in the other answer, certain there or not."""
    certain = [row for row in range(len(first)) if first.scores[row] >= CERTAIN]
    unmatched, boxes, scores, least, keypoints = 0, 0.0, 0.0, 1.0, 0.0
    partners: set[int] = set()
    for row in certain:
        apart = np.abs(second.boxes - first.boxes[row]).max(axis=1, initial=0.0)
        apart = np.where(second.labels == first.labels[row], apart, np.inf)
        partner = int(apart.argmin()) if len(second) else -1
        side = (first.boxes[row, 2:] - first.boxes[row, :2]).min()
        if partner < 0 or partner in partners or apart[partner] > max(0.5 * side, 1.0):
            unmatched += 1
            continue
        partners.add(partner)
        boxes, scores = max(boxes, float(apart[partner])), max(scores, float(abs(second.scores[partner] - first.scores[row])))
        one, other = first[row].masks[0], second[partner].masks[0]
        union = np.count_nonzero(one | other)
        least = min(least, float(np.count_nonzero(one & other) / union) if union else 1.0)
        keypoints = max(keypoints, _moved(first.keypoints, row, second.keypoints, partner))
    unmatched += sum(int(row) not in partners for row in np.flatnonzero(second.scores >= CERTAIN + 1e-3))
    return Difference(len(certain), unmatched, boxes, scores, least, keypoints)


def _moved(first: np.ndarray | None, row: int, second: np.ndarray | None, partner: int) -> float:
    """By how many pixels an object's median keypoint moved. Not the worst: a heat map with two peaks may jump by a rounding."""
    if first is None or second is None:
        return 0.0
    return float(np.median(np.hypot(*(first[row, :, :2] - second[partner, :, :2]).T)))


def _check(found: Difference, precision: str) -> None:
    limit = LIMITS[precision]
    if found.objects == 0:
        raise ValueError("The model finds nothing in the images, so nothing is checked; name others that it knows.")
    if (
        found.unmatched > limit.unmatched * math.ceil(found.objects / 30)
        or not found.boxes <= limit.boxes
        or not found.scores <= limit.scores
        or not found.mask_iou >= limit.mask_iou
        or not found.keypoints <= limit.keypoints
    ):
        raise ValueError(
            f"The exported model does not answer as the Keras model does, and was not kept: {found._asdict()}; "
            f"at most {limit._asdict()}."
        )
