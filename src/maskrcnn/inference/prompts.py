"""What a model sees in boxes that somebody gives: a promptable Mask R-CNN, where a person's boxes take the proposals' place."""

from __future__ import annotations

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, offset_in_frame, pad_to_frame
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.whole import keypoints_in
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.structures import PaddedDetections

_LEAST_ROWS = 8  # boxes are filled up to powers of two from here on: few shapes, few compilations


def detect_in_boxes(model: Network, image: np.ndarray, boxes: np.ndarray) -> Detections:
    """The class, its score and the mask that the model's heads give to each box.

    Args:
        model: on Keras; exported models have no such door.
        image: (H, W, C) uint8 of the model's channels.
        boxes: (N, 4) xyxy with area, pixels of the image.

    Returns:
        N detections in the order of the boxes, with those boxes.
    """
    config = model.config
    fitted, _ = fit_to_frame(image, config.image)
    size = (fitted.shape[0], fitted.shape[1])
    frame = choose_frame([size], config.image)
    rows = max(_LEAST_ROWS, 1 << (len(boxes) - 1).bit_length())
    prompts = np.zeros((1, rows, 4), np.float32)
    prompts[0, : len(boxes)] = _boxes_in_frame(boxes, image.shape[:2], size, frame, config)
    batch = {"images": pad_to_frame(fitted, frame, config.image.place)[None], "sizes": np.array([size], np.int32)}
    answer = PaddedDetections(*map(np.asarray, model.predict_on_batch({**batch, "prompts": prompts})))
    return Detections(
        boxes=np.asarray(boxes, np.float32),
        scores=answer.scores[0, : len(boxes)].astype(np.float32),
        labels=answer.labels[0, : len(boxes)].astype(np.int32),
        small_masks=answer.masks[0, : len(boxes)].astype(np.float32),
        size=(image.shape[0], image.shape[1]),
        class_names=config.class_names,
        paste=config.mask_head.paste,
        image=image,
        **keypoints_in(answer, 0, np.arange(rows) < len(boxes), size, frame, image.shape[:2], config),
    )


def _boxes_in_frame(
    boxes: np.ndarray, original_size: tuple[int, ...], size: tuple[int, int], frame: tuple[int, int], config: ModelConfig
) -> np.ndarray:
    """(N, 4) boxes in pixels of the original to pixels of the frame: `inference.whole.original` the other way."""
    old, new, offset = (
        np.tile(np.array(pair[::-1], np.float64), 2)  # x, y, x, y
        for pair in (original_size, size, offset_in_frame(size, frame, config.image.place))
    )
    if config.anchors.ends == "last_pixel":
        return (boxes - [0, 0, 1, 1]) * (new - 1) / np.maximum(old - 1, 1) + offset
    return boxes * (new / old) + offset
