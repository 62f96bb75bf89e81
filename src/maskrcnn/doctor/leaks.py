"""Images that are the same, or nearly: within a data set, and between the part to train on and the part to validate."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np

from maskrcnn.doctor.fingerprints import SMALL, Fingerprint

# Measured on 260 photos and micrographs of three sets: JPEG of quality 30, at half the size, with gamma 0.7, noise of 10
# or in gray all are found again; with a border of 2 % cut off 98 %, of 5 % 27 %. Among 245,000 pairs of images in eight sets
# three are found; each shows one scene twice.
MOST_BITS = 12  # of 64 that differ
LEAST_CORRELATION = 0.85  # of the small copies
_AT_ONCE = 1 << 22  # pairs that are compared together: some 60 MB

Prints = Sequence[Fingerprint | ValueError | None]


def alike(ones: Prints, others: Prints | None = None) -> Iterator[tuple[int, int]]:
    """Pairs of images that are the same or nearly so; images of one color and those without a fingerprint are like no other.

    Args:
        ones: N of them.
        others: M of them; None: each of `ones` is compared with those after it.

    Yields:
        The place in `ones` and the place in `others`, in their order.
    """
    rows, bits, small = _columns(ones)
    columns, other_bits, other_small = (rows, bits, small) if others is None else _columns(others)
    step = max(1, _AT_ONCE // max(1, len(columns)))
    for start in range(0, len(rows), step):
        stop = start + step
        differing = np.bitwise_count(bits[start:stop, None] ^ other_bits)  # (n, M)
        if others is None:
            differing[np.arange(len(columns)) <= np.arange(start, start + len(differing))[:, None]] = 64
        for row, column in np.argwhere(differing <= MOST_BITS).tolist():
            if float(small[start + row] @ other_small[column]) >= LEAST_CORRELATION:
                yield int(rows[start + row]), int(columns[column])


def _columns(prints: Prints) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the N that can be compared: (N,) their places, (N,) uint64 bits, (N, 256) float32 small copies of length 1."""
    usable = [(place, taken) for place, taken in enumerate(prints) if isinstance(taken, Fingerprint) and not taken.plain]
    places = np.array([place for place, _ in usable], np.int64)
    bits = np.array([taken.bits for _, taken in usable], np.uint64)
    small = np.array([taken.small for _, taken in usable], np.float32).reshape(-1, SMALL**2)
    small -= small.mean(axis=1, keepdims=True)
    return places, bits, small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def same(prints: Prints) -> list[list[int]]:
    """Places of the images whose pixels are the same, two or more in a list; in their order."""
    by_digest: dict[bytes, list[int]] = {}
    for place, taken in enumerate(prints):
        if isinstance(taken, Fingerprint):
            by_digest.setdefault(taken.digest, []).append(place)
    return [places for places in by_digest.values() if len(places) > 1]


def joined(count: int, pairs: Iterable[tuple[int, int]], keys: Sequence[Hashable] | None = None) -> list[int]:
    """What must stay together: images in one group share a number.

    Args:
        count: of images.
        pairs: places of two that belong together.
        keys: for each image the name of its group; None is nobody's.

    Returns:
        For each image the first place of its group.
    """
    first = list(range(count))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    def join(one: int, other: int) -> None:
        low, high = sorted((root(one), root(other)))
        first[high] = low

    for one, other in pairs:
        join(one, other)
    by_key: dict[Hashable, int] = {}
    for place, key in enumerate(keys or ()):
        if key is not None:
            join(by_key.setdefault(key, place), place)
    return [root(place) for place in range(count)]
