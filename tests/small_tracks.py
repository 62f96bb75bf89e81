"""Small videos and tracks, for the tests of several rooms."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.structures import Detections, PaddedDetections, VideoFrame

SIZE = (64, 96)  # (height, width) of the frames
NAMES = ["disc", "bar"]


def found(
    boxes: Sequence[Sequence[float]],
    *,
    scores: Sequence[float] = (),
    labels: Sequence[int] = (),
    ids: Sequence[int] | None = None,
    size: tuple[int, int] = SIZE,
) -> Detections:
    """Detections that fill their boxes."""
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores if len(scores) else [0.9] * len(boxes), np.float32),
        labels=np.array(labels if len(labels) else [0] * len(boxes), np.int32),
        small_masks=np.ones((len(boxes), 28, 28), np.float32),
        size=size,
        class_names=NAMES,
        track_ids=None if ids is None else np.array(ids, np.int64),
    )


def drawn(boxes: Sequence[Sequence[int]], size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8, white boxes on black."""
    image = np.zeros((*size, 3), np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return image


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    times: Sequence[float] = (),
    rotation: int = 0,
    codec: str = "libx264",
    form: str | None = None,
) -> Path:
    """Writes frames, at 10 a second where no times are given; `rotation` is what a player turns them by, counter-clockwise.

    The pixels are RGB and become YUV; or of the `form` that is named, and stay.
    """
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], form or "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format=form or "rgb24")
            frame.pts = round(1000 * (times[number] if len(times) else number / 10))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


CATEGORIES = (Category(3, "disc"), Category(7, "bar"))
TIMES = (0.0, 0.5, 1.0, 1.5)


def tracked() -> list[tuple[VideoFrame, Detections]]:
    """Four frames: a disc that goes 3 to the right and 4 down a frame and is not seen in the third, where nothing is; a bar on
    which it lies; and a disc that is seen once."""
    answer = []
    for number, seconds in enumerate(TIMES):
        left, top = 10 + 3 * number, 10 + 4 * number
        boxes = [(left, top, left + 20, top + 20), (20, 20, 60, 30), (70, 40, 80, 50)]
        rows = ([0, 1], [0, 1], [], [0, 1, 2])[number]
        found_here = found(
            [boxes[row] for row in rows],
            scores=[(0.9, 0.8, 0.7)[row] for row in rows],
            labels=[(0, 1, 0)[row] for row in rows],
            ids=[row + 1 for row in rows],
        )
        answer.append((VideoFrame(number, seconds, drawn([boxes[row] for row in rows])), found_here))
    return answer


class WhiteBox:
    """Stands in for a model: finds the white part of a frame, one object, its score the brightness."""

    config = ModelConfig(categories=CATEGORIES, image=ImageConfig(short_side=64, long_side=96))

    def predict_on_batch(self, batch: dict[str, np.ndarray]) -> PaddedDetections:
        num = len(batch["images"])
        boxes, valid = np.zeros((num, 1, 4), np.float32), np.zeros((num, 1), bool)
        for row, image in enumerate(batch["images"]):
            y, x = np.nonzero(image[:, :, 0] > 128)
            if len(y):
                boxes[row, 0], valid[row, 0] = (x.min(), y.min(), x.max() + 1, y.max() + 1), True
        return PaddedDetections(
            boxes=boxes,
            scores=np.full((num, 1), 0.9, np.float32),
            labels=np.zeros((num, 1), np.int32),
            masks=np.ones((num, 1, 28, 28), np.float32),
            valid=valid,
        )
