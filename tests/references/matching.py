"""Slow, obvious twin of `maskrcnn.ops.matching.match`. Faster R-CNN, section 3.1.2."""

from __future__ import annotations

import numpy as np
from references import boxes as reference


def match(boxes, truth, valid, crowd, *, positive_iou, negative_iou, best_is_positive, crowd_overlap=0.5):
    """(N, 4) boxes and (M, 4) truth of one image → iou, object, positive, negative, each (N,)."""
    objects = [row for row in range(len(truth)) if valid[row] and not crowd[row]]
    crowds = [row for row in range(len(truth)) if valid[row] and crowd[row]]
    best, matched = np.zeros(len(boxes)), np.zeros(len(boxes), int)
    positive, negative = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    iou = reference.iou(boxes, np.nan_to_num(truth))
    for i in range(len(boxes)):
        for j in objects:
            if iou[i, j] > best[i]:
                best[i], matched[i] = iou[i, j], j
        positive[i] = best[i] >= positive_iou
    if best_is_positive:
        for j in objects:
            if iou[:, j].max() > 0:
                positive |= iou[:, j] == iou[:, j].max()
    for i in range(len(boxes)):
        inside_crowd = any(reference.covered(boxes[[i]], truth[[j]])[0, 0] >= crowd_overlap for j in crowds)
        negative[i] = best[i] < negative_iou and not positive[i] and not inside_crowd
    return best, matched, positive, negative
