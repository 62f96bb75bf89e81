"""What is kept of an image's pixels to know it again: a digest, a perceptual hash, a very small copy."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from maskrcnn.images.formats import open_file
from maskrcnn.images.opened import Display
from maskrcnn.images.opening import has_many_pixels, is_slide
from maskrcnn.images.values import LUMA
from maskrcnn.structures import Sample

SMALL = 16  # pixels of a side of the small copy
_DCT, _LOW = 32, 8  # sides of the transform and of its low frequencies: pHash (Zauner 2010, section 3.2.1)
_STEPS = 32.0  # steps of the small copy for one standard deviation: int8 reaches to four of them


class Fingerprint(NamedTuple):
    """What one image's pixels say, in about 300 bytes.

    Attributes:
        digest: of the pixels and their shape: two images with the same digest are the same.
        bits: 64 bits that hardly change when an image is compressed, resized or made lighter (pHash).
        small: (256,) int8, the image as 16×16 gray values, mean 0 and standard deviation 32.
        channels: of the file: 1, 3, 4 …
        depth: of its values, such as "uint8".
        plain: whether all pixels have one color; then `bits` and `small` say nothing.
    """

    digest: bytes
    bits: int
    small: np.ndarray
    channels: int
    depth: str
    plain: bool


def fingerprint(values: np.ndarray) -> Fingerprint:
    """The fingerprint of an image (H, W) or (H, W, C) of any depth."""
    values = np.ascontiguousarray(values)
    digest = hashlib.blake2b(f"{values.shape} {values.dtype}".encode(), digest_size=16)
    digest.update(values.data)
    channels = values.shape[2] if values.ndim == 3 else 1
    pixels = values.reshape(-1, channels)
    plain = bool((pixels == pixels[0]).all())
    resizable = values if values.dtype in (np.uint8, np.uint16, np.float32) else values.astype(np.float32)
    grey = cv2.resize(resizable, (_DCT, _DCT), interpolation=cv2.INTER_AREA).astype(np.float32)
    weights = LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)
    grey = np.nan_to_num(grey.reshape(_DCT, _DCT, -1) @ weights, posinf=0.0, neginf=0.0)
    deviation = float(grey.std())
    grey = (grey - grey.mean()) / (deviation or 1.0)
    low = cv2.dct(grey)[:_LOW, :_LOW].ravel()
    bits = int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), "big")
    small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    small *= _STEPS / (float(small.std()) or 1.0)
    return Fingerprint(
        digest.digest(),
        bits,
        np.clip(np.rint(small), -127, 127).astype(np.int8).ravel(),
        channels,
        values.dtype.name,
        plain or not deviation,
    )


def take_fingerprints(
    samples: Sequence[Sample], *, progress: Callable[[], None] = lambda: None
) -> Iterator[Fingerprint | ValueError | None]:
    """Reads every image once, a few at a time, so that memory holds no more than those.

    Args:
        samples: of a data set.
        progress: called after each image.

    Yields:
        In the order of the samples: the fingerprint, the error that reading the image gave, or None for slides and images of
        100 million pixels and more, which are read in regions and never whole.
    """
    at_once = os.cpu_count() or 1
    with ThreadPoolExecutor(at_once) as threads:  # decoders let go of Python's lock
        running: deque[Future[Fingerprint | ValueError | None]] = deque()
        for sample in samples:
            running.append(threads.submit(_take, sample))
            if len(running) > at_once:
                yield running.popleft().result()
                progress()
        while running:
            yield running.popleft().result()
            progress()


def _take(sample: Sample) -> Fingerprint | ValueError | None:
    if sample.image is not None:
        return fingerprint(sample.image)
    try:
        path = Path(sample.path)
        if is_slide(path):
            return None
        with open_file(path, Display(channels=None)) as file:
            if file.has_regions and has_many_pixels(file.size):
                return None
            return fingerprint(file.first())
    except ValueError as error:
        return error
