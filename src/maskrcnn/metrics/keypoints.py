"""COCO's average precision of keypoints, over hotcoco: objects are alike by how near their points are (OKS).

https://cocodataset.org/#keypoints-eval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import Params, StreamingEval

from maskrcnn.config.keypoints import PERSON
from maskrcnn.config.model import Category
from maskrcnn.geometry.keypoints import as_coco
from maskrcnn.structures import Sample

MAX_DETECTIONS = 20  # of an image and a class, COCO's for keypoints
_SIZES = ("all", "medium", "large")  # the library's areas for keypoints: any, 32² to 96², above


class KeypointMatching:
    """hotcoco's evaluator of keypoints, fed image by image.

    Args:
        categories: of the data; those with keypoints are scored.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        names = next((category.keypoints for category in categories if category.keypoints), ())
        self._num_keypoints = len(names)
        params = Params("keypoints")
        params.max_dets = [MAX_DETECTIONS]
        if names != PERSON:
            # How far apart people put the points of other objects nobody measured for COCO: its mean of a person's.
            params.kpt_oks_sigmas = [float(np.mean(params.kpt_oks_sigmas))] * len(names)
        classes = [{"id": number, "name": category.name} for number, category in enumerate(categories, start=1)]
        self._evaluator = StreamingEval(classes, "keypoints", params=params)
        self._scored = {number for number, category in enumerate(categories, start=1) if category.keypoints}
        self._num_found = 0

    def add(self, number: int, sample: Sample, found: Sequence[dict[str, Any]]) -> None:
        """Matches one image's results with its truth.

        Args:
            number: of the image.
            sample: its truth.
            found: rows with `category_id` from 1, `score` and `keypoints`; those without keypoints do not count.

        Raises:
            ValueError: a result with another number of keypoints than the data names.
        """
        rows = [row for row in found if "keypoints" in row and row["category_id"] in self._scored]
        wrong = next((row for row in rows if len(row["keypoints"]) != 3 * self._num_keypoints), None)
        if wrong is not None:
            raise ValueError(
                f"A result of image_id {sample.image_id} has {len(wrong['keypoints']) / 3:g} keypoints; the data names "
                f"{self._num_keypoints}."
            )
        self._num_found += len(rows)
        marked = np.zeros((len(sample.labels), self._num_keypoints, 3)) if sample.keypoints is None else sample.keypoints
        objects = [
            {
                "id": row + 1,
                "image_id": number,
                "category_id": int(label) + 1,
                "keypoints": as_coco(points * (points[:, 2:] > 0)),
                "num_keypoints": int((points[:, 2] > 0).sum()),
                "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
                "area": float(area),
                "iscrowd": int(crowd),
            }
            for row, (label, points, box, area, crowd) in enumerate(
                zip(sample.labels, marked, sample.boxes, sample.areas, sample.crowd, strict=True)
            )
            if int(label) + 1 in self._scored
        ]
        wanted = ("category_id", "score", "keypoints")
        results = [{"image_id": number, **{name: row[name] for name in wanted}} for row in rows]
        height, width = sample.size
        self._evaluator.update([{"id": number, "height": height, "width": width}], objects, results)

    def scores(self) -> dict[str, float | None] | None:
        """COCO's ten numbers, None where there is no truth to find; None alone where no result had keypoints."""
        if not self._num_found:
            return None
        evaluation = self._evaluator.finalize()
        evaluation.accumulate()
        assert evaluation.eval is not None
        precision = np.asarray(evaluation.eval["precision"])  # (T, R, K, sizes, 1), -1 where there is no truth
        recall = np.asarray(evaluation.eval["recall"])  # (T, K, sizes, 1)
        scores: dict[str, float | None] = {}
        for name, values in (("AP", precision[:, :, :, :, 0]), ("AR", recall[:, :, :, 0])):
            scores |= {
                name: _mean(values[..., 0]),
                f"{name}50": _mean(values[0, ..., 0]),
                f"{name}75": _mean(values[5, ..., 0]),
            }
            scores |= {f"{name}_{size}": _mean(values[..., place]) for place, size in enumerate(_SIZES) if place}
        return scores


def _mean(values: np.ndarray) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
