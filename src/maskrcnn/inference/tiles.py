"""Large images detected tile by tile."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskrcnn.config.fields import replace
from maskrcnn.config.model import ImageConfig, ModelConfig
from maskrcnn.data.resize import fitted_size
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opening import open_large
from maskrcnn.inference.stitching import Part, Tile, as_detections, finished_groups, link_parts, parts_of, put_together
from maskrcnn.inference.whole import Score, detect
from maskrcnn.structures import ChecksMemory, Detections, Detector, Finder, PaddedDetections

LONG = 2.5  # from which on `shrinkage` counts
EDGE = 4  # pixels of the frame, a cell of the finest features (P2): a mask that comes so near to a border is cut by it


@dataclass(frozen=True, eq=False)
class Reconfigured:
    """A detector seen with another configuration: a model takes frames of any size, its configuration says which are made."""

    model: Detector
    config: ModelConfig

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        return self.model.predict_on_batch(batch)

    def check_memory(self, frame: tuple[int, int], batch_size: int) -> None:
        if isinstance(self.model, ChecksMemory):
            self.model.check_memory(frame, batch_size)


def tiles_of(size: tuple[int, int], *, tile: int, overlap: int) -> list[list[Tile]]:
    """Rows of tiles that cover an image, all of one size, overlapping by at least `overlap`.

    Args:
        size: (height, width) of the image.
        tile: side of a tile, in pixels of the image; the image's own where that is shorter.
        overlap: of neighboring tiles, in pixels.

    Raises:
        ValueError: for an overlap of nothing, or of more than half a tile.
    """
    if not 1 <= overlap <= tile // 2:
        raise ValueError(f"overlap is from 1 pixel to half a tile, {tile // 2}; received {overlap}.")
    rows, columns = (_spans(length, tile, overlap) for length in size)
    return [
        [Tile((left, top, right, bottom), (x1, y1, x2, y2)) for left, right, x1, x2 in columns] for top, bottom, y1, y2 in rows
    ]


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Start and end of each tile along an axis, and of its core."""
    tile = min(tile, length)
    count = 1 if tile == length else math.ceil((length - overlap) / (tile - overlap))
    starts = np.linspace(0, length - tile, count).round().astype(int).tolist()
    middles = [0, *((start + tile + following) // 2 for start, following in itertools.pairwise(starts)), length]
    return [(start, start + tile, *core) for start, core in zip(starts, itertools.pairwise(middles))]


def detect_large(
    model: Detector | Finder,
    source: Any,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
    score: Score = None,
    batch_size: int = 1,
    on_tile: Callable[[Tile], None] | None = None,
) -> Iterator[Detections]:
    """Finds the objects of an image of any size.

    Args:
        model: a `MaskRCNN`, an engine, or an `Ensemble`.
        source: a path, an array, or a `LargeImage`; see `open_large`.
        tile: side of the squares that the model sees as one image each, in pixels. As every image they are resized to the
            model's short side, so this is also the scale at which objects are seen: choose it as large as the images of the
            training were. None: the model's short side, so that a pixel stays a pixel.
        overlap: pixels that neighboring tiles share, at least; None: an eighth of a tile. Objects up to so large are seen
            whole by some tile; larger ones are put together.
        scale: by how much a tile is enlarged before the model sees it, in place of what brings it to the model's short side.
        score: least score, as in `inference.whole.detect`.
        batch_size: tiles that go through the model together.
        on_tile: called after each tile.

    Yields:
        After each row of tiles the objects that are done, in pixels of the whole image, with bitmaps; best first.

    Raises:
        ValueError: for a source that is no image; for an overlap that is no part of a tile; for a scale and an ensemble.
    """
    image = model.config.image
    tile = _tile(model.config, tile, scale)
    if scale is not None:
        if isinstance(model, Finder) and not isinstance(model, Detector):
            raise ValueError("A scale of tiles is for one model; an ensemble has scales of its own, Ensemble(scales=…).")
        side = round(tile * scale)
        seen = replace(
            model.config, image__short_side=side, image__long_side=max(side, round(side * image.long_side / image.short_side))
        )
        model = Reconfigured(model, seen)
    edge = math.ceil(EDGE * tile / model.config.image.short_side)
    given = isinstance(source, LargeImage)  # then it stays open
    with nullcontext(source) if given else open_large(source, channels=image.channels, scaling=image.scaling) as large:
        rows = tiles_of(large.size, tile=tile, overlap=tile // 8 if overlap is None else overlap)
        regions = (large.read(each.region) for row in rows for each in row)
        answers = detect(model, regions, batch_size=batch_size, score=score)
        open_parts: list[Part] = []
        for number, row in enumerate(rows):
            for each in row:
                parts = parts_of(each, next(answers))
                link_parts(parts, open_parts, edge)
                open_parts += parts
                if on_tile is not None:
                    on_tile(each)
            horizon = rows[number + 1][0].region[1] if number + 1 < len(rows) else large.size[0]
            done, open_parts = finished_groups(open_parts, horizon)
            yield as_detections([put_together(group) for group in done], large, model.config)


def shrinkage(size: tuple[int, int], image_config: ImageConfig) -> float | None:
    """How many times smaller the model sees a long image than it is; None where its shape costs it nothing.

    An image is fitted by its short side, until its long side is too long. Of one that is far longer than wide, `LONG` times
    more is lost than its short side asks for, and small objects are no longer found; tiles see it in parts.

    Args:
        size: (height, width) of the image.
        image_config: of the model.
    """
    _, scale = fitted_size(*size, image_config)
    lost = image_config.short_side / min(size) / scale
    return 1 / scale if lost >= LONG and scale < 1 else None


def num_tiles(
    config: ModelConfig,
    size: tuple[int, int],
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
) -> tuple[int, int]:
    """How many tiles `detect_large` looks at in an image of `size` (height, width), and their side in pixels."""
    tile = _tile(config, tile, scale)
    return sum(map(len, tiles_of(size, tile=tile, overlap=tile // 8 if overlap is None else overlap))), tile


def _tile(config: ModelConfig, tile: int | None, scale: float | None) -> int:
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale is a factor above 0; received {scale}.")
    if tile is not None and tile < 32:
        raise ValueError(f"A tile's side is at least 32 pixels; received {tile}.")
    return tile or max(32, round(config.image.short_side / (scale or 1.0)))
