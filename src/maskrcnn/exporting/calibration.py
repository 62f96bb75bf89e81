"""What exporters into fewer bits share: what a tool is shown to learn the values of layers, and which nodes stay exact."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

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


def on_ways_back(
    starts: Iterable[Any],
    before: Callable[[Any], Iterable[Any]],
    key: Callable[[Any], Hashable],
    is_layer: Callable[[Any], bool],
    is_end: Callable[[Any], bool],
) -> Iterator[tuple[Any, int]]:
    """Nodes of a graph on every way back, up to the second layer that is met, each with how many layers were met before it.

    Args:
        starts: nodes from which the ways go back.
        before: the nodes that a node takes its inputs from.
        key: what tells a node from others.
        is_layer: whether a node computes in few bits if it may.
        is_end: whether a way ends in front of a node.
    """
    seen: set[tuple[Hashable, int]] = set()
    ahead = [(node, 0) for node in starts]
    while ahead:
        node, layers = ahead.pop()
        if layers == 2 or is_end(node) or (key(node), layers) in seen:
            continue
        seen.add((key(node), layers))
        yield node, layers
        layers += is_layer(node)
        ahead += [(other, layers) for other in before(node)]
