"""What a model is shown so that a tool learns which values its layers take, for int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.images.images import read_image


def model_input(file: str | Path, config: ModelConfig) -> dict[str, np.ndarray]:
    """An image's file as the model is given it: `images` (1, H, W, C) float32 and `sizes` (1, 2)."""
    image = read_image(file, channels=config.image.channels, scaling=config.image.scaling)
    fitted, _ = fit_to_frame(image, config.image)
    frame = choose_frame([fitted.shape[:2]], config.image)
    padded = pad_to_frame(fitted, frame, config.image.place)
    return {"images": padded[None].astype(np.float32), "sizes": np.array([fitted.shape[:2]], np.int32)}
