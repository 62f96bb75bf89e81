"""Changes to a picture and its truth together, for training. Samples go in read and come out new."""

from __future__ import annotations

import numpy as np

from maskrcnn.geometry.boxes import flip_boxes
from maskrcnn.geometry.masks import flip_rle
from maskrcnn.structures import Sample


def flip_horizontal(sample: Sample) -> Sample:
    """The sample seen in a mirror: picture, boxes and masks. Its image has been read."""
    assert sample.image is not None
    return sample.replace(
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        boxes=flip_boxes(sample.boxes, sample.size[1]),
        rles=[flip_rle(rle) for rle in sample.rles],
    )


def random_flip(sample: Sample, rng: np.random.Generator, *, probability: float = 0.5) -> Sample:
    """`flip_horizontal`, or the sample as it is; Fast R-CNN's only augmentation, and Mask R-CNN's but for the scale."""
    return flip_horizontal(sample) if rng.random() < probability else sample
