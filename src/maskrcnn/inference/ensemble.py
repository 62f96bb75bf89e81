"""Several models asked together, and images looked at several times: flipped, and at other scales (test-time augmentation)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from maskrcnn.config.fields import replace as change
from maskrcnn.config.model import ModelConfig
from maskrcnn.inference.batches import in_batches
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.fusion import IOU, flipped, fuse
from maskrcnn.inference.given import as_pixels, each_image, kept_image, path_of
from maskrcnn.inference.tiles import Reconfigured
from maskrcnn.inference.whole import Score, check_score, detect, least_scores, reach
from maskrcnn.structures import Detector

TTA_SCALES = (0.8, 1.0, 1.25)
FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {  # the axes along which each look at an image is mirrored
    "none": ((),),
    "horizontal": ((), (1,)),
    "both": ((), (1,), (0,), (0, 1)),
}


class Ensemble:
    """Several models, or one model with flips and scales (test-time augmentation), whose detections are fused.

    It detects, predicts and is evaluated like one model; `maskrcnn.inference.fusion.fuse` combines the detections.
    The time is that of all looks: with `flip="horizontal"` and three scales six times that of a model alone, and more at
    scales above 1.

    Example:
        ```python
        model = Ensemble([maskrcnn.load_model("runs/first"), maskrcnn.load_model("runs/second")], flip="horizontal")
        (found,) = model.detect("photo.jpg")
        ```
    """

    def __init__(
        self,
        models: Sequence[Detector],
        *,
        flip: Literal["none", "horizontal", "both"] = "none",
        scales: Sequence[float] = (1.0,),
        iou: float = IOU,
    ) -> None:
        """Args:
            models: at least one, on Keras or on an engine; they know the same classes, in any order.
            flip: whether images are looked at mirrored too: left and right swapped, or every way.
            scales: by which the short and the long side that each model resizes images to are multiplied; one look each.
            iou: the least overlap of boxes that are one object.

        Raises:
            ValueError: no models, classes that differ, a scale that is not between 0.1 and 10, an unknown flip.
        """
        if not models:
            raise ValueError("An ensemble is made of models; received none.")
        if flip not in FLIPS:
            raise ValueError(f"flip is one of {', '.join(FLIPS)}; received {flip!r}.")
        if not scales or not all(math.isfinite(scale) and 0.1 <= scale <= 10 for scale in scales):
            raise ValueError(f"scales lie between 0.1 and 10, and there is at least one; received {tuple(scales)}.")
        if not 0 < iou < 1:
            raise ValueError(f"iou lies between 0 and 1; received {iou}.")
        self.names = models[0].config.class_names
        for model in models[1:]:
            if sorted(model.config.class_names) != sorted(self.names):
                raise ValueError(
                    f"Models that are asked together know the same classes; one knows {', '.join(self.names)}, another "
                    f"{', '.join(model.config.class_names)}."
                )
        self.iou = iou
        self._flips = FLIPS[flip]
        self._looks: list[Detector] = [_at_scale(model, scale) for model in models for scale in scales]
        self._config = models[0].config

    @property
    def config(self) -> ModelConfig:
        """Classes, least score and most detections: the first model's."""
        return self._config

    def detect(self, images: Any, *, batch_size: int = 1, score: Score = None) -> Iterator[Detections]:
        """Finds objects, image by image; as `maskrcnn.inference.whole.detect`.

        Args:
            images, batch_size: as there.
            score: least score of a fused detection. Each look counts from its model's own least score up.

        Yields:
            `Detections` in original pixels, in the order of the images.

        Raises:
            ValueError, MemoryError: as there.
        """
        check_score(score)
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1; received {batch_size}.")
        least, given = least_scores(score, self.config), each_image(images)
        for items in in_batches(iter(given), batch_size):
            shown: dict[tuple[int, str], list[np.ndarray]] = {}  # read once for all who want the same of an image
            looks: list[list[Detections]] = []
            for look in self._looks:
                wanted = (look.config.image.channels, look.config.image.scaling)
                if wanted not in shown:
                    shown[wanted] = [as_pixels(item, look.config.image) for item in items]
                looks += self._look(look, shown[wanted], batch_size)
            own = shown[self.config.image.channels, self.config.image.scaling]
            for row, item in enumerate(items):
                fused = fuse([answers[row] for answers in looks], iou=self.iou, most=self.config.detect.max_detections)
                if least is not None:
                    fused = fused[reach(fused.scores, fused.labels, least)]
                keep = isinstance(given, Sized) and path_of(item) is None  # as for one model: what the caller holds anyway
                image = kept_image(item, own[row]) if keep else None
                yield replace(fused, path=path_of(item), image=image)

    def _look(self, model: Detector, pixels: Sequence[np.ndarray], batch_size: int) -> Iterator[list[Detections]]:
        """What a model finds in the images, (H, W, C) each, once for each flip."""
        for axes in self._flips:
            shown = [np.ascontiguousarray(np.flip(image, axes)) for image in pixels]
            answers = []
            for found in detect(model, shown, batch_size=batch_size):
                for axis in axes:
                    found = flipped(found, axis)
                answers.append(self._named(found))
            yield answers

    def _named(self, found: Detections) -> Detections:
        """The detections with the first model's labels."""
        if found.class_names == self.names:
            return found
        labels = np.array([self.names.index(name) for name in found.class_names], np.int32)
        return replace(found, labels=labels[found.labels], class_names=self.names)


def _at_scale(model: Detector, scale: float) -> Detector:
    """The model, shown images that much larger or smaller than it asks for."""
    image = model.config.image
    sides = {f"image__{name}": max(1, round(getattr(image, name) * scale)) for name in ("short_side", "long_side")}
    return model if scale == 1 else Reconfigured(model, change(model.config, **sides))
