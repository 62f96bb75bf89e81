"""Every stage of one image's way through the network, in original pixels, and why an object was missed.

inspection = model.inspect("cells.png", truth=sample)
inspection.proposals.plot()
print(inspection.explain(3))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.batch import make_batch
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.geometry.boxes import box_iou
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.explanation import Explanation, explain
from maskrcnn.inference.given import as_pixels, path_of
from maskrcnn.inference.whole import original, original_boxes
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.model.trace import Trace, sampled_rois, trace
from maskrcnn.results.draw import as_rgb, colour_of, resized
from maskrcnn.structures import RoiTargets, Sample

_MOST_BOXES = 40  # drawn of a stage where nothing else is asked for


class Placed(NamedTuple):
    """Where an image lies in the frame that the network saw."""

    size: tuple[int, int]  # (height, width) of the image as it was resized
    frame: tuple[int, int]  # (height, width) of the frame
    original: tuple[int, int]  # (height, width) of the image itself
    config: ModelConfig

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) xyxy from pixels of the frame to pixels of the image."""
        return original_boxes(boxes, self.size, self.frame, self.original, self.config)


def inspect(model: Network, image: Any, truth: Sample | None = None) -> Inspection:
    """Runs the network on one image and keeps every stage.

    Args:
        model: a `MaskRCNN`.
        image: a path, an (H, W, C) or (H, W) uint8 array, or an image of Pillow.
        truth: the image's ground truth, with labels that count in the model's classes.

    Raises:
        ValueError: what is no image, or ground truth of another size.
    """
    pixels = as_pixels(image, model.config.image)
    size = (pixels.shape[0], pixels.shape[1])
    if truth is not None and tuple(truth.size) != size:
        raise ValueError(f"The ground truth is of an image of {tuple(truth.size)}; this one has {size}, both (height, width).")
    fitted, _ = fit_to_frame(pixels, model.config.image)
    fitted_size = (fitted.shape[0], fitted.shape[1])
    frame = choose_frame([fitted_size], model.config.image)
    padded = pad_to_frame(fitted, frame, model.config.image.place)[None]  # (1, H, W, C)
    steps = trace(model, padded, np.array([fitted_size], np.int32))
    found = original(steps.detections, 0, fitted_size, frame, size, model.config, path=path_of(image))
    placed = Placed(fitted_size, frame, size, model.config)
    targets = None
    if truth is not None:
        batch = make_batch([truth.replace(image=pixels, fitted=False)], model.config)
        targets = sampled_rois(model, batch._asdict())
    return Inspection(pixels, padded[0], replace(found, image=pixels), model.config, steps, placed, truth, targets)


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one stage, best first.

    Attributes:
        name: of the stage.
        image: (H, W, 3) uint8 RGB, what they lie on.
        boxes: (N, 4) float32 xyxy, original pixels.
        scores: (N,) float32 in [0, 1].
        levels: (N,) int, the level of the pyramid: 2 for P2 … 6 for P6; None where a stage knows none.
        labels: (N,) int, classes; None where a stage knows none.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    levels: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        best = f", scores {self.scores[-1]:.3f} to {self.scores[0]:.3f}" if len(self) else ""
        return f"Boxes({self.name}: {len(self)}{best})"

    def plot(self, *, most: int = _MOST_BOXES, side: int | None = None) -> Image.Image:
        """The image with the best boxes drawn in, the best on top; one color a level or class.

        Args:
            most: so many boxes are drawn.
            side: pixels of the plot's longer side; the image's own where None.
        """
        scale = 1.0 if side is None else side / max(self.image.shape[:2])
        canvas = resized(self.image, scale)
        line = max(1, round(min(canvas.shape[:2]) / 400))
        keys = self.levels if self.levels is not None else self.labels
        for row in reversed(range(min(most, len(self)))):
            left, top, right, bottom = np.rint(self.boxes[row] * scale).astype(int).tolist()
            colour = colour_of(0 if keys is None else int(keys[row]))
            cv2.rectangle(canvas, (left, top), (max(left, right - 1), max(top, bottom - 1)), colour, line)
        return Image.fromarray(canvas)

    def _repr_png_(self) -> bytes | None:
        return self.plot()._repr_png_()


@dataclass(frozen=True, eq=False)
class Inspection:
    """One image's way through the network; every box and mask in original pixels.

    Attributes:
        image: (H, W, 3) uint8 RGB, the image.
        input: (h, w, C) the frame as the network saw it, 0 to 255.
        detections: the answer.
        config: of the model.
        trace: every number on the way, in pixels of the frame; row 0 is this image.
        frame: from one to the other.
        truth: what should have been found, where it was given.
        targets: with ground truth, the RoIs that training would sample, and what the heads should say of them; row 0 is this
            image, boxes in pixels of the frame.
    """

    image: np.ndarray
    input: np.ndarray
    detections: Detections
    config: ModelConfig
    trace: Trace
    frame: Placed
    truth: Sample | None = None
    targets: RoiTargets | None = None

    def __repr__(self) -> str:
        stages = (self.anchors, self.before_nms, self.proposals, self.refined)
        return f"Inspection({', '.join(f'{len(stage)} {stage.name}' for stage in stages)}, {len(self.detections)} detections)"

    @cached_property
    def anchors(self) -> Boxes:
        """All anchors with the RPN's scores, as they lie on the image before they are moved."""
        return self._boxes("anchors", self.trace.anchors, self.trace.objectness[0], self.trace.anchor_levels)

    @cached_property
    def before_nms(self) -> Boxes:
        """What enters the RPN's NMS: the best anchors of each level, moved by their deltas."""
        rows = self._ranked
        return self._boxes(
            "proposals before NMS",
            self.trace.anchor_boxes[0, rows],
            self.trace.objectness[0, rows],
            self.trace.anchor_levels[rows],
        )

    @cached_property
    def proposals(self) -> Boxes:
        """What leaves the RPN's NMS, with the level that each is pooled from."""
        valid = self.trace.proposals.valid[0]
        boxes, scores = self.trace.proposals.boxes[0, valid], self.trace.proposals.scores[0, valid]
        return self._boxes("proposals", boxes, scores, self.trace.roi_levels[0, valid])

    @cached_property
    def class_scores(self) -> np.ndarray:
        """(N, K + 1) what the box head says of each of `proposals`, background first; in the same order."""
        return self.trace.scores[0][self.trace.proposals.valid[0]]

    @cached_property
    def refined(self) -> Boxes:
        """Each proposal as its best class moves it, with that class's score."""
        valid = self.trace.proposals.valid[0]
        scores = self.trace.scores[0][valid][:, 1:]
        labels = scores.argmax(axis=1)
        rows = np.arange(len(labels))
        return self._boxes("refined boxes", self.trace.refined[0][valid][rows, labels], scores[rows, labels], labels=labels)

    @cached_property
    def sampled(self) -> Boxes:
        """The RoIs that training would sample, with the class that each should be given, -1 for background.

        Raises:
            ValueError: without ground truth.
        """
        self.objects()
        assert self.targets is not None
        valid = self.targets.valid[0]
        ones = np.ones(int(valid.sum()), np.float32)
        return self._boxes("sampled RoIs", self.targets.rois[0, valid], ones, labels=self.targets.classes[0, valid] - 1)

    @cached_property
    def small_masks(self) -> np.ndarray:
        """(N, M, M) probabilities, the masks of `detections` before they are pasted into their boxes."""
        return self.detections.small_masks

    @cached_property
    def matching(self) -> dict[str, np.ndarray]:
        """IoU with the ground truth's boxes: `anchors` (T, G) as placed, and `proposals` (N, G).

        Raises:
            ValueError: without ground truth.
        """
        truth = self.objects()
        return {
            "anchors": box_iou(self.anchors_as_placed, truth.boxes),
            "proposals": box_iou(self.proposals.boxes, truth.boxes),
        }

    def explain(self, row: int) -> Explanation:
        """Why an object of the ground truth was missed, or how it was found: `print(inspection.explain(3))`.

        Args:
            row: which object of the sample.

        Raises:
            ValueError: without ground truth.
            IndexError: no such object.
        """
        return explain(self, row)

    def plot(self) -> Image.Image:
        """The answer, drawn on the image."""
        return self.detections.plot()

    @property
    def anchors_as_placed(self) -> np.ndarray:
        """(T, 4) of all anchors in the network's own order, original pixels."""
        return self.frame.to_original(self.trace.anchors)

    @cached_property
    def _ranked(self) -> np.ndarray:
        """Rows of the anchors that enter the RPN's NMS, best first."""
        scores, levels, config = self.trace.objectness[0], self.trace.anchor_levels, self.config.rpn
        groups = (
            [np.arange(len(scores))]
            if config.rank == "all_levels"
            else [np.flatnonzero(levels == k) for k in np.unique(levels)]
        )
        rows = np.concatenate([group[np.argsort(-scores[group], kind="stable")][: config.top_k] for group in groups])
        return rows[np.argsort(-scores[rows], kind="stable")]

    def _boxes(
        self,
        name: str,
        boxes: np.ndarray,
        scores: np.ndarray,
        levels: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> Boxes:
        order = np.argsort(-scores, kind="stable")
        return Boxes(
            name,
            as_rgb(self.image),
            self.frame.to_original(boxes[order]),
            scores[order],
            None if levels is None else levels[order],
            None if labels is None else labels[order],
        )

    def objects(self) -> Sample:
        """The ground truth.

        Raises:
            ValueError: none was given.
        """
        if self.truth is None:
            raise ValueError("This needs the ground truth: model.inspect(image, truth=sample).")
        return self.truth
