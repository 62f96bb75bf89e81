"""Copy-paste: objects of one image laid on another (Ghiasi et al. 2021)."""

from __future__ import annotations

import numpy as np

from maskrcnn.data.warp import Part, tight, with_parts
from maskrcnn.geometry.rle import rle_area, rle_to_box, rle_to_mask
from maskrcnn.structures import Sample


def copy_paste(below: Sample, above: Sample, rng: np.random.Generator, *, min_visible: float, min_area: float) -> Sample:
    """A random half of one image's objects, laid on another where they were; both samples are read and jittered.

    As published: no search for a good place and no blending at the edges, which gained nothing. Crowds are not pasted, for
    their outlines are coarse, but can be covered. Where the images differ in size, what reaches beyond the lower one is cut.
    What is almost hidden is dropped, as the fully hidden are there: its rest, scattered around what covers it, has a large box,
    and as a crowd it would keep all background in that box from being learned.

    Args:
        below: whose image, and `fitted`, goes on.
        above: where the objects come from.
        rng: chooses them.
        min_visible, min_area: see `with_parts`.
    """
    assert below.image is not None and above.image is not None
    chosen = np.flatnonzero(~above.crowd & (rng.random(len(above.rles)) < 0.5)).tolist()
    height, width = np.minimum(below.size, above.size)
    covered = np.zeros(below.size, bool)
    pasted: list[Part | None] = []
    for row in chosen:
        part = _part(above, row)
        if part is not None:
            mask = part.mask[: max(0, height - part.top), : max(0, width - part.left)]
            covered[part.top : part.top + mask.shape[0], part.left : part.left + mask.shape[1]] |= mask
            part = tight(mask, part.left, part.top)
        pasted.append(part)
    image = below.image.copy()
    image[:height, :width][covered[:height, :width]] = above.image[:height, :width][covered[:height, :width]]
    left_over = []
    for row in range(len(below.rles)):
        part = _part(below, row)
        if part is not None:
            region = covered[part.top : part.top + part.mask.shape[0], part.left : part.left + part.mask.shape[1]]
            rest = np.count_nonzero(part.mask & ~region)
            hidden = not below.crowd[row] and rest < min_visible * part.area
            part = None if hidden else tight(part.mask & ~region, part.left, part.top)
        left_over.append(part)
    both = below.replace(
        labels=np.concatenate([below.labels, above.labels[chosen]]),
        crowd=np.concatenate([below.crowd, above.crowd[chosen]]),
        rles=[*below.rles, *(above.rles[row] for row in chosen)],
        areas=np.concatenate([below.areas, above.areas[chosen]]),
        annotation_ids=np.concatenate([below.annotation_ids, above.annotation_ids[chosen]]),
    )
    keypoints = _keypoints(below, above, chosen, covered)
    whole = np.array([rle_area(rle) for rle in both.rles])
    return with_parts(
        both, image, left_over + pasted, whole=whole, min_visible=min_visible, min_area=min_area, keypoints=keypoints
    )


def _keypoints(below: Sample, above: Sample, chosen: list[int], covered: np.ndarray) -> np.ndarray | None:
    """Keypoints of all objects of the one and the chosen of the other; those under what was pasted are hidden."""
    both = [below.keypoints, above.keypoints_of(chosen)]
    known = [part for part in both if part is not None]
    if not known:
        return None
    shape = known[0].shape[1:]
    under, over = (
        np.zeros((count, *shape), np.float32) if part is None else part.copy()
        for part, count in zip(both, (len(below.labels), len(chosen)))
    )
    x, y = np.floor(under[..., :2]).astype(int).transpose(2, 0, 1)
    hidden = covered[y.clip(0, covered.shape[0] - 1), x.clip(0, covered.shape[1] - 1)]
    under[..., 2] = np.where(hidden, np.minimum(under[..., 2], 1), under[..., 2])
    return np.concatenate([under, over])


def _part(sample: Sample, row: int) -> Part | None:
    left, top, right, bottom = rle_to_box(sample.rles[row]).astype(int).tolist()
    return tight(rle_to_mask(sample.rles[row])[top:bottom, left:right], left, top)
