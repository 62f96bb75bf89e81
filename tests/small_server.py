"""A detector that needs no Keras, and files for it."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.structures import Detections, PaddedDetections

ROWS, SIDE = 4, 28


class BrightDetector:
    """Finds one object an image: the box around the pixels of at least 128. A detector by contract, without a network.

    Attributes:
        batches: how many images each call had.
        gate: calls wait until it is set.
    """

    def __init__(self, **changes: Any) -> None:
        config = ModelConfig(categories=(Category(1, "square"), Category(7, "round")))
        self.config = replace(config, image__short_side=64, image__long_side=96, **changes)
        self.batches: list[int] = []
        self.frames: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def predict_on_batch(self, batch: dict[str, np.ndarray]) -> PaddedDetections:
        assert self.gate.wait(20)
        images, sizes = batch["images"], batch["sizes"]
        self.batches.append(len(images))
        self.frames.append(images.shape[1:3])
        boxes = np.zeros((len(images), ROWS, 4), np.float32)
        valid = np.zeros((len(images), ROWS), bool)
        for row, (image, (height, width)) in enumerate(zip(images, sizes, strict=True)):
            bright = image[:height, :width].max(axis=2) >= 128
            if bright.any():
                y, x = np.nonzero(bright)
                boxes[row, 0] = x.min(), y.min(), x.max() + 1, y.max() + 1
                valid[row, 0] = True
        scores = np.full((len(images), ROWS), 0.9, np.float32)
        labels = np.zeros((len(images), ROWS), np.int32)
        masks = np.ones((len(images), ROWS, SIDE, SIDE), np.float32)
        return PaddedDetections(boxes, scores, labels, masks, valid)


def image_bytes(
    size: tuple[int, int] = (64, 64), box: tuple[int, int, int, int] = (10, 20, 30, 50), form: str = "PNG"
) -> bytes:
    """An image file, black with a white box (left, top, right, bottom)."""
    pixels = np.zeros((*size, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


@contextmanager
def live(app: Any) -> Iterator[str]:
    """An app on a port of the loopback, for clients that need a real one; gives its address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started or not app.state.service.ready:
                time.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def whole_boxes(detector: BrightDetector, image: np.ndarray, boxes: np.ndarray) -> Detections:
    """Masks that fill their boxes, as a promptable model would answer them."""
    count = len(boxes)
    return Detections(
        boxes=boxes,
        scores=np.full(count, 0.8, np.float32),
        labels=np.zeros(count, np.int32),
        small_masks=np.ones((count, SIDE, SIDE), np.float32),
        size=(image.shape[0], image.shape[1]),
        class_names=detector.config.class_names,
    )
