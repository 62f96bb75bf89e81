"""Pictures far larger than the model's frame: found tile by tile, and put together where tiles meet.

Tiles overlap. What two of them say of their overlap is compared mask by mask, and there are two ways to be the same object:

- One tile sees all of it, the other the same, or a part that its border cuts off: the first one's word is taken.
- Both borders cut it: it goes on from tile to tile, and its parts are laid together. Each pixel is then decided by the tile in
  whose core it lies; cores meet in the middle of the overlaps.

What one tile alone sees counts where it lies mostly in that tile's core: the others saw more around it, and nothing.

What no later tile can touch is given away and forgotten, so that memory grows with a row of tiles and not with the picture.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from maskrcnn.config import ModelConfig, replace
from maskrcnn.data.tiles import LargePicture, Window, open_picture, reduced
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.predict import detect
from maskrcnn.results.large import LONGEST_OVERLAY, LargeWriter
from maskrcnn.results.names import stem_of
from maskrcnn.structures import Detections

AGREE = 0.5  # of the smaller part, or of two whole masks' union: then they are the same object
EDGE = 4  # pixels of the frame, a cell of the finest features (P2): a mask that comes so near to a border is cut by it


@dataclass(frozen=True)
class Tile:
    """A window of the picture, and its core: where no other tile sees farther around. Cores cover the picture once."""

    window: Window
    core: Window


def tiles_of(size: tuple[int, int], *, tile: int, overlap: int) -> list[list[Tile]]:
    """Rows of tiles that cover a picture, all of one size, overlapping by at least `overlap`.

    Args:
        size: (height, width) of the picture.
        tile: side of a tile, in pixels of the picture; the picture's own where that is shorter.
        overlap: of neighbouring tiles, in pixels.

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


@dataclass(eq=False)
class _Part:
    """What one tile saw of an object. Places are pixels of the picture."""

    mask: np.ndarray  # (h, w) bool without an empty rim
    corner: tuple[int, int]  # left, top
    box: np.ndarray  # (4,) as the model gave it
    score: float
    label: int
    tile: Tile
    replaced_by: list[_Part] = field(default_factory=list)  # each sees all that this one does, or the same
    goes_on_in: list[_Part] = field(default_factory=list)  # the same object, beyond the tile's border

    @property
    def bounds(self) -> Window:
        left, top = self.corner
        return left, top, left + self.mask.shape[1], top + self.mask.shape[0]

    def inside(self, window: Window) -> np.ndarray:
        """The mask cut to a window."""
        left, top, right, bottom = _shared(self.bounds, window)
        if not _is_window((left, top, right, bottom)):
            return self.mask[:0, :0]
        return self.mask[top - self.corner[1] : bottom - self.corner[1], left - self.corner[0] : right - self.corner[0]]

    def is_mostly_in_core(self) -> bool:
        return bool(2 * np.count_nonzero(self.inside(self.tile.core)) >= np.count_nonzero(self.mask))

    def cut_by(self, other: Tile, edge: int) -> bool:
        """Whether it reaches a border of its tile that lies inside the other: there the other one sees more."""
        left, top, right, bottom = self.tile.window
        x1, y1, x2, y2 = other.window
        borders = []
        if x1 < left:
            borders.append((left, y1, left + edge, y2))
        if x2 > right:
            borders.append((right - edge, y1, right, y2))
        if y1 < top:
            borders.append((x1, top, x2, top + edge))
        if y2 > bottom:
            borders.append((x1, bottom - edge, x2, bottom))
        return any(self.inside(border).any() for border in borders)


def detect_large(
    model: Any,
    source: Any,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
    score: float | None = None,
    batch_size: int = 1,
    on_tile: Callable[[Tile], None] | None = None,
) -> Iterator[Detections]:
    """Finds the objects of a picture of any size.

    Args:
        model: a `MaskRCNN`.
        source: a path, an array, or a `LargePicture`; see `open_picture`.
        tile: side of the squares that the model sees as one picture each, in pixels. As every picture they are resized to the
            model's short side, so this is also the scale at which objects are seen: choose it as large as the pictures of the
            training were. None: the model's short side, so that a pixel stays a pixel.
        overlap: pixels that neighbouring tiles share, at least; None: an eighth of a tile. Objects up to so large are seen
            whole by some tile; larger ones are put together.
        scale: by how much a tile is enlarged before the model sees it, in place of what brings it to the model's short side.
        score: least score; the model's own where None.
        batch_size: tiles that go through the model together.
        on_tile: called after each tile.

    Yields:
        After each row of tiles the objects that are done, in pixels of the whole picture, with bitmaps; best first.

    Raises:
        ValueError: for a source that is no picture; for an overlap that is no part of a tile.
    """
    image = model.config.image
    tile = _tile(model.config, tile, scale)
    if scale is not None:
        side = round(tile * scale)
        # The model takes frames of any size; its configuration says which ones `detect` makes.
        seen = replace(
            model.config, image__short_side=side, image__long_side=max(side, round(side * image.long_side / image.short_side))
        )
        model = SimpleNamespace(config=seen, predict_on_batch=model.predict_on_batch)
    edge = math.ceil(EDGE * tile / model.config.image.short_side)
    given = isinstance(source, LargePicture)  # then it stays open
    with nullcontext(source) if given else open_picture(source, channels=image.channels, scaling=image.scaling) as picture:
        rows = tiles_of(picture.size, tile=tile, overlap=tile // 8 if overlap is None else overlap)
        pictures = (picture.read(each.window) for row in rows for each in row)
        answers = detect(model, pictures, batch_size=batch_size, score=score)
        open_parts: list[_Part] = []
        for number, row in enumerate(rows):
            for each in row:
                parts = _parts(each, next(answers))
                _link(parts, open_parts, edge)
                open_parts += parts
                if on_tile is not None:
                    on_tile(each)
            horizon = rows[number + 1][0].window[1] if number + 1 < len(rows) else picture.size[0]
            done, open_parts = _done(open_parts, horizon)
            yield _detections([_put_together(group) for group in done], picture, model.config)


def predict_large(
    model: Any,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
    score: float = 0.5,
    batch_size: int = 1,
    save: Sequence[str] = ("overlay", "labels"),
    on_tile: Callable[[Tile], None] | None = None,
) -> int:
    """Writes what `detect_large` finds in a picture into a folder, all of it or nothing; see `LargeWriter`.

    Args:
        model, tile, overlap, scale, batch_size, on_tile: as for `detect_large`.
        source: a file that `open_picture` opens.
        out: folder, made where it is not there.
        name: what the results are called; None: as the file without its suffix.
        score: least score of what is written.
        save: some of `results.large.LARGE_FORMATS`.

    Returns:
        How many objects were found.

    Raises:
        ValueError, ImportError: as `detect_large` and `LargeWriter`.
    """
    image = model.config.image
    with open_picture(source, channels=image.channels, scaling=image.scaling) as picture:
        small = reduced(picture, LONGEST_OVERLAY) if "overlay" in save else None
        file_name, categories = Path(source).as_posix(), model.config.categories
        options: dict[str, Any] = {
            "size": picture.size,
            "file_name": file_name,
            "categories": categories,
            "save": save,
            "small": small,
        }
        with LargeWriter(out, name or stem_of(Path(source)), **options) as writer:
            for found in detect_large(
                model, picture, tile=tile, overlap=overlap, scale=scale, score=score, batch_size=batch_size, on_tile=on_tile
            ):
                writer.write(found)
    return writer.count


def num_tiles(
    config: ModelConfig,
    size: tuple[int, int],
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
) -> tuple[int, int]:
    """How many tiles `detect_large` looks at in a picture of `size` (height, width), and their side in pixels."""
    tile = _tile(config, tile, scale)
    return sum(map(len, tiles_of(size, tile=tile, overlap=tile // 8 if overlap is None else overlap))), tile


def _tile(config: ModelConfig, tile: int | None, scale: float | None) -> int:
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale is a factor above 0; received {scale}.")
    if tile is not None and tile < 32:
        raise ValueError(f"A tile's side is at least 32 pixels; received {tile}.")
    return tile or max(32, round(config.image.short_side / (scale or 1.0)))


def _parts(tile: Tile, found: Detections) -> list[_Part]:
    left, top = tile.window[:2]
    parts = []
    for (mask, (x, y)), box, score, label in zip(found.windows(), found.boxes, found.scores, found.labels):
        x1, y1, x2, y2 = mask_to_box(mask).astype(int).tolist()
        if x2 > x1:
            corner = (left + x + x1, top + y + y1)
            parts.append(
                _Part(mask[y1:y2, x1:x2].copy(), corner, box + np.tile((left, top), 2), float(score), int(label), tile)
            )
    return parts


def _link(parts: list[_Part], others: list[_Part], edge: int) -> None:
    """Links a tile's parts with those of the tiles before that are the same object."""
    ours, theirs = (np.array([part.bounds for part in group]).reshape(-1, 4) for group in (parts, others))
    beside = (ours[:, None, :2] < theirs[None, :, 2:]).all(axis=2) & (theirs[None, :, :2] < ours[:, None, 2:]).all(axis=2)
    for row, column in np.argwhere(beside).tolist():
        part, other = parts[row], others[column]
        if part.label == other.label:
            _compare(part, other, edge)


def _compare(part: _Part, other: _Part, edge: int) -> None:
    window = _shared(part.bounds, other.bounds)  # what both have lies in both tiles
    both = np.count_nonzero(part.inside(window) & other.inside(window))
    if not both:
        return
    cut, other_cut = part.cut_by(other.tile, edge), other.cut_by(part.tile, edge)
    if cut and other_cut:
        region = _shared(part.tile.window, other.tile.window)
        if both >= AGREE * min(np.count_nonzero(each.inside(region)) for each in (part, other)):
            part.goes_on_in.append(other)
            other.goes_on_in.append(part)
        return
    area, other_area = np.count_nonzero(part.mask), np.count_nonzero(other.mask)
    if cut or other_cut:
        less, more, least = (part, other, area) if cut else (other, part, other_area)
    else:
        less, more, least = *sorted((part, other), key=lambda each: each.score), area + other_area - both
    if both >= AGREE * least:
        less.replaced_by.append(more)


def _done(parts: list[_Part], horizon: int) -> tuple[list[list[_Part]], list[_Part]]:
    """Groups of parts, an object each, that end above the horizon, from where on tiles are still to come; and the rest."""
    done, rest, seen = [], [], set()
    joined: dict[int, list[_Part]] = {}
    for part in parts:
        for other in (*part.replaced_by, *part.goes_on_in):
            joined.setdefault(id(part), []).append(other)
            joined.setdefault(id(other), []).append(part)
    for part in parts:
        if id(part) in seen:
            continue
        linked = _reached(part, lambda each: joined.get(id(each), []))
        seen |= {id(each) for each in linked}
        if max(each.bounds[3] for each in linked) > horizon:
            rest += linked
        else:
            done += _groups(linked)
    return done, rest


def _groups(linked: list[_Part]) -> list[list[_Part]]:
    """Parts that hang together, as objects: those that go on in each other, and whole ones alone.

    A part that no other tile confirms, though most of it lies in the core of another, is none.
    """
    if len(linked) == 1 and not linked[0].is_mostly_in_core():
        return []
    kept: list[_Part] = []
    for part in sorted(linked, key=lambda each: (-each.score, each.corner)):
        if not any(other in kept for other in part.replaced_by):
            kept.append(part)
    kept = [part for part in kept if not any(other in kept for other in part.replaced_by)]
    groups, seen = [], set()
    for part in kept:
        if id(part) not in seen:
            group = _reached(part, lambda each: [other for other in each.goes_on_in if other in kept])
            seen |= {id(each) for each in group}
            if len(group) > 1:  # a tile that sees several pieces of it says something of each
                said = {id(each) for each in group}
                others = [each for each in linked if each not in kept]
                group += [
                    each for each in others if said & {id(more) for more in _reached(each, lambda less: less.replaced_by)}
                ]
            groups.append(group)
    return groups


def _reached(start: _Part, neighbours: Callable[[_Part], list[_Part]]) -> list[_Part]:
    found, ahead = {id(start): start}, [start]
    while ahead:
        for each in neighbours(ahead.pop()):
            if id(each) not in found:
                found[id(each)] = each
                ahead.append(each)
    return list(found.values())


def _put_together(group: list[_Part]) -> _Part:
    """One part of several: each tile's word where the pixels are in its core, or in that of a tile which has no word."""
    if len(group) == 1:
        return group[0]
    tiles = {id(part.tile): part.tile for part in group}
    bounds = np.array([part.bounds for part in group])
    left, top = bounds[:, :2].min(axis=0).tolist()
    right, bottom = bounds[:, 2:].max(axis=0).tolist()
    whole: np.ndarray = np.zeros((bottom - top, right - left), bool)
    for part in group:
        mask, (x, y) = part.mask.copy(), part.corner
        for tile in tiles.values():
            shared = _shared(part.bounds, tile.core)
            if tile is not part.tile and _is_window(shared):
                mask[shared[1] - y : shared[3] - y, shared[0] - x : shared[2] - x] = False
        whole[y - top : y - top + mask.shape[0], x - left : x - left + mask.shape[1]] |= mask
    box = mask_to_box(whole)
    x1, y1, x2, y2 = box.astype(int).tolist()
    best = max(group, key=lambda part: part.score)
    return dataclasses.replace(best, mask=whole[y1:y2, x1:x2], corner=(left + x1, top + y1), box=box + np.tile((left, top), 2))


def _detections(parts: list[_Part], picture: LargePicture, config: ModelConfig) -> Detections:
    parts = sorted((part for part in parts if part.mask.size), key=lambda part: (-part.score, part.corner[::-1]))
    return Detections(
        boxes=np.array([part.box for part in parts], np.float32).reshape(-1, 4),
        scores=np.array([part.score for part in parts], np.float32),
        labels=np.array([part.label for part in parts], np.int32),
        small_masks=np.zeros((len(parts), 0, 0), np.float32),
        size=picture.size,
        class_names=config.class_names,
        path=picture.path,
        bitmaps=[part.mask for part in parts],
        corners=np.array([part.corner for part in parts], int).reshape(-1, 2),
    )


def _shared(one: Window, other: Window) -> Window:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _is_window(window: Window) -> bool:
    return window[0] < window[2] and window[1] < window[3]
