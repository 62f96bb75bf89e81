"""The masks of an image as bitmaps with their corners, for as long as nobody asks for run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from maskrcnn.geometry.masks import crop_bitmap, crop_mask
from maskrcnn.geometry.rle import cutout_rle


class Cutouts(Sequence[dict[str, Any]]):
    """Masks that read as RLEs do: each is encoded when it is asked for the first time.

    An augmentation makes bitmaps, and a batch crops bitmaps. Encoding them between takes longer than either.

    Args:
        masks: N bitmaps (h, w) bool.
        corners: (N, 2) int, left and top of each in the image.
        size: (height, width) of the image.
    """

    def __init__(self, masks: Sequence[np.ndarray], corners: np.ndarray, size: tuple[int, int]) -> None:
        self._masks, self._corners, self._size = masks, corners, size
        self._rles: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, row: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, row: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, row: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        if row not in self._rles:
            left, top = self._corners[row].tolist()
            self._rles[row] = cutout_rle(self._masks[row], (left, top), self._size)
        return self._rles[row]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def crop(self, row: int, box: np.ndarray, side: int) -> np.ndarray:
        """`crop_mask` of a mask."""
        return crop_bitmap(self._masks[row], box - np.tile(self._corners[row], 2), side)


def crop_masks(rles: Sequence[dict[str, Any]], boxes: np.ndarray, side: int) -> list[np.ndarray]:
    """`crop_mask` of each mask with its box (N, 4)."""
    if isinstance(rles, Cutouts):
        return [rles.crop(row, box, side) for row, box in enumerate(boxes)]
    return [crop_mask(rle, box, side) for rle, box in zip(rles, boxes, strict=True)]
