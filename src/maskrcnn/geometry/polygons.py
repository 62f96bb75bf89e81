"""Outlines of masks as polygons."""

from __future__ import annotations

import cv2
import numpy as np

from maskrcnn.geometry.masks import mask_to_box


def mask_to_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """The outer outline of each 8-connected part of a bitmap, along the pixels' edges; holes are not given.

    Without holes nothing is lost: `polygons_to_rle` gives the same mask again. OpenCV's contours run through the centers of the
    border pixels and so lose half a pixel on each side; on a bitmap of doubled size they lie a quarter of a pixel beside the
    true edge, and rounding puts them on it.

    Args:
        mask: (H, W), nonzero is mask.

    Returns:
        (P, 2) float32 x, y for each part; pixels.
    """
    left, top, right, bottom = mask_to_box(mask).astype(int)
    doubled = (mask[top:bottom, left:right] != 0).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    if not doubled.size:
        return []
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        corners = (contour[:, 0] + 1) // 2  # doubled pixel 2x is x + 1/4 and becomes x; 2x + 1 is x + 3/4 and becomes x + 1
        corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
        outlines.append((corners + np.array([left, top])).astype(np.float32))
    return outlines


def mask_to_rings(mask: np.ndarray) -> list[list[np.ndarray]]:
    """The polygons that cover a bitmap's nonzero pixels and nothing else, each with its holes.

    Parts that touch at a corner alone are polygons of their own. No ring visits a point twice and none crosses another, so
    every polygon is valid by the OGC's rules (OpenGIS Simple Feature Access, part 1, section 6.1.11).

    Args:
        mask: (H, W), nonzero is mask.

    Returns:
        For each 4-connected part its rings, each (P, 2) int64 x, y in pixels and not closed: first the outer one, then the
        holes. x to y, outer rings have a positive area and holes a negative one: counter-clockwise and clockwise as RFC 7946,
        section 3.1.6, counts, which has y upwards.
    """
    mask = np.pad(mask != 0, 1)
    rings = [ring for loop in _loops(mask) for ring in _simple_rings(loop)]
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    outer: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    for ring in rings:
        x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]]  # the leftmost of its topmost corners
        if _area(ring) > 0:
            outer[int(parts[y, x])] = ring
        else:
            holes.setdefault(int(parts[y - 1, x]), []).append(ring)  # of the pixel above the hole
    return [[ring - 1, *(hole - 1 for hole in holes.get(part, []))] for part, ring in outer.items()]


def _loops(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Closed walks of corners x, y along the edge between mask and the rest, the mask on the right hand with y downwards.

    A corner has an odd number of mask pixels around it, or two in a diagonal; those are two corners at one place. Along a row,
    and along a column, edges join the first corner with the second, the third with the fourth, and so on. Of two at one place
    the first goes on to the left; whether up or down is chosen so that each keeps to one of the two pixels.
    """
    pixels = mask.astype(np.int8)
    around = pixels[:-1, :-1] + pixels[:-1, 1:] + pixels[1:, :-1] + pixels[1:, 1:]
    diagonal = (around == 2) & (pixels[:-1, :-1] == pixels[1:, 1:])
    falling = diagonal & (pixels[1:, 1:] == 1)
    rows, columns = (np.concatenate(both) for both in zip(np.nonzero((around % 2 == 1) | diagonal), np.nonzero(diagonal)))
    second = np.arange(len(rows)) >= len(rows) - np.count_nonzero(diagonal)  # of two corners at one place
    upper = second ^ falling[rows, columns]
    rows, columns = rows + 1, columns + 1  # between pixels k and k + 1 lies edge k + 1
    along_row = _pairs(np.lexsort((second, columns, rows)))
    along_column = _pairs(np.lexsort((~upper, rows, columns)))
    loops, free = [], np.ones(len(rows), bool)
    for start in np.lexsort((second, columns, rows)).tolist():
        loop, corner = [], start
        while free[corner]:
            other = along_row[corner]
            free[corner] = free[other] = False
            loop += [(int(columns[corner]), int(rows[corner])), (int(columns[other]), int(rows[other]))]
            corner = along_column[other]
        if loop:
            loops.append(loop if mask[loop[0][1], loop[0][0]] else loop[::-1])
    return loops


def _pairs(order: np.ndarray) -> np.ndarray:
    """For each corner the one it is joined with: neighbors in an order, two by two."""
    partner = np.empty(len(order), np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _simple_rings(loop: list[tuple[int, int]]) -> list[np.ndarray]:
    """A walk cut wherever it comes back to a point, into rings that visit no point twice."""
    rings: list[np.ndarray] = []
    walk: list[tuple[int, int]] = []
    places: dict[tuple[int, int], int] = {}
    for point in [*loop, loop[0]]:
        if point in places:
            ring = walk[places[point] :]
            rings.append(np.array(ring, np.int64))
            del walk[places[point] :]
            for left in ring:
                del places[left]
        places[point] = len(walk)
        walk.append(point)
    return rings


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
