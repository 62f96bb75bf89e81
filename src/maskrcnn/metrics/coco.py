"""COCO's average precision and recall, of masks and of boxes, over hotcoco.

hotcoco matches detections with truth and sorts them as pycocotools does, bit for bit; the means are taken here, because every
library's own summary answers -1 for AP50 when `max_detections` does not end with 100, or prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hotcoco import Params, StreamingEval

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_from_json, rle_to_box
from maskrcnn.metrics.keypoints import KeypointMatching
from maskrcnn.structures import Detections, Sample

_LIBRARY_NAMES = {"mask": "segm", "box": "bbox"}
_SIZES = ("all", "small", "medium", "large")  # the library's areas: any, below 32², to 96², above; pixels as annotated
_IOU_50, _IOU_75 = 0, 5  # places among the thresholds 0.50, 0.55, … 0.95


def evaluate_coco(
    samples: Iterable[Sample],
    categories: Sequence[Category],
    results: Iterable[tuple[int, Detections]] | Iterable[Mapping[str, Any]],
    *,
    max_detections: Sequence[int] = (1, 10, 100),
) -> dict[str, Any]:
    """COCO scores of results against the truth: numbers in [0, 1], None where there is no truth to find.

    Pairs are matched as they come and then let go, so a generator that runs the model keeps one image in memory. Rows may
    come in any order and are held, as RLE, until the last one. Crowd regions are neither found nor missed. An image without
    results counts with all its objects missed.

    Args:
        samples: the truth.
        categories: what the samples' labels mean.
        results: (image_id, Detections), one pair an image; or rows as in COCO's result files, with `image_id`, `category_id`,
            `score`, `segmentation` (RLE) and perhaps `bbox` (xywh; else the box around the mask). Detections belong to the
            category of their class's name, or of their label where they name no classes; a name that the data does not have
            is left out, as COCO's evaluation does.
        max_detections: at most so many of an image and a class are looked at, ascending. AP and the rows for sizes use the
            last; COCO's standard is 100, and images of more objects need more.

    Returns:
        `{"mask": overall, "box": overall, "per_class": {name: …}, "max_detections": […]}`. Overall are AP (mean over IoU 0.50
        to 0.95 and over the classes that have truth), AP50, AP75, AP_small, AP_medium, AP_large, AR_n for each n of
        `max_detections`, AR_small, AR_medium and AR_large. Where data and results have keypoints, there is `"keypoints"` too:
        AP, AP50, AP75, AP_medium, AP_large and the same of AR, over OKS. A class has mask_AP, mask_AP50, box_AP, box_AP50 and
        num_objects, crowds not counted.

    Raises:
        ValueError: for two samples or two pairs of one image, a result of an unknown image or category, a mask of another
            size than its image, and limits that don't ascend.
    """
    limits = [int(limit) for limit in max_detections]
    if not limits or limits[0] < 1 or any(low >= high for low, high in pairwise(limits)):
        raise ValueError(f"max_detections ascends from at least 1, such as (1, 10, 100); received {tuple(max_detections)}.")
    truth: dict[int, Sample] = {}
    for sample in samples:
        if sample.image_id in truth:
            raise ValueError(f"An image is evaluated once; received image_id {sample.image_id} twice.")
        truth[sample.image_id] = sample

    matching = _Matching(truth, categories, limits)
    rows: dict[int, list[dict[str, Any]]] = {}
    for result in results:
        if isinstance(result, Mapping):
            rows.setdefault(result["image_id"], []).append(matching.from_row(result))
        else:
            image_id, detections = result
            matching.add(image_id, matching.from_detections(image_id, detections))
    for image_id, found in rows.items():
        matching.add(image_id, found)
    for image_id in truth.keys() - matching.seen:
        matching.add(image_id, [])
    return matching.scores()


class _Matching:
    """The library's two evaluators, fed image by image.

    They see images as 1, 2, … in the order of their ids and categories as 1, 2, …: pycocotools breaks ties of scores in that
    order, and the library takes no negative ids.
    """

    def __init__(self, truth: dict[int, Sample], categories: Sequence[Category], limits: list[int]) -> None:
        self.truth = truth
        self.categories = categories
        self.limits = limits
        self.seen: set[int] = set()
        self._image = {image_id: number for number, image_id in enumerate(sorted(truth), start=1)}
        self._by_id = {category.id: number for number, category in enumerate(categories, start=1)}
        self._by_name = {category.name: number for number, category in enumerate(categories, start=1)}
        with_keypoints = any(sample.keypoints is not None for sample in truth.values())
        self._keypoints = KeypointMatching(categories) if with_keypoints else None
        self._evaluators = {kind: self._evaluator(name) for kind, name in _LIBRARY_NAMES.items()}

    def _evaluator(self, library_name: str) -> StreamingEval:
        params = Params(library_name)
        params.max_dets = self.limits
        classes = [{"id": number, "name": category.name} for number, category in enumerate(self.categories, start=1)]
        return StreamingEval(classes, library_name, params=params)

    def from_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row of a result file, in the library's numbers."""
        rle = rle_from_json(row["segmentation"], self._sample(row["image_id"]).size)
        if row["category_id"] not in self._by_id:
            known = ", ".join(map(str, self._by_id))
            raise ValueError(
                f"A result of image_id {row['image_id']} has category_id {row['category_id']}; the data has {known}."
            )
        box = row["bbox"] if "bbox" in row else _xywh(rle_to_box(rle))
        own = {"keypoints": row["keypoints"]} if "keypoints" in row else {}
        return _annotation(self._by_id[row["category_id"]], box, rle, score=float(row["score"]), **own)

    def from_detections(self, image_id: int, detections: Detections) -> list[dict[str, Any]]:
        """The detections whose class the data has, in the library's numbers."""
        size = tuple(self._sample(image_id).size)
        if tuple(detections.size) != size:
            raise ValueError(
                f"Detections of image_id {image_id} are in an image of {tuple(detections.size)}; the data's is {size}."
            )
        names = detections.class_names or [category.name for category in self.categories]
        return [
            _annotation(self._by_name[names[label]], _xywh(box), rle, score=float(score), **detections.keypoint_row(number))
            for number, (box, score, label, rle) in enumerate(
                zip(detections.boxes, detections.scores, detections.labels, detections.rle())
            )
            if names[label] in self._by_name
        ]

    def add(self, image_id: int, found: list[dict[str, Any]]) -> None:
        """Matches one image's results with its truth."""
        sample = self._sample(image_id)
        if image_id in self.seen:
            raise ValueError(f"An image's results come at once; received those of image_id {image_id} twice.")
        self.seen.add(image_id)
        number = self._image[image_id]
        height, width = sample.size
        image = {"id": number, "height": height, "width": width}
        objects = [
            # Annotations are written to a hundredth of a pixel; the thousandth takes back what float32 did to them, without
            # which a result at exactly IoU 0.75 falls on the wrong side (COCO's golden example: box AP 0.5044 for 0.5046).
            _annotation(int(label) + 1, np.round(_xywh(box), 3).tolist(), rle, area=float(area), iscrowd=int(crowd))
            for label, box, rle, area, crowd in zip(sample.labels, sample.boxes, sample.rles, sample.areas, sample.crowd)
        ]
        if self._keypoints is not None:
            self._keypoints.add(number, sample, found)
        # A result's size class is its mask's area for masks and its box's area for boxes; pycocotools takes the box's for both
        # where a row holds both, so each evaluator sees its own form alone.
        for kind, form in (("mask", "segmentation"), ("box", "bbox")):
            others = {"keypoints", "bbox" if form == "segmentation" else "segmentation"}
            self._evaluators[kind].update(
                [image],
                [_without(others, annotation, id=k, image_id=number) for k, annotation in enumerate(objects, start=1)],
                [_without(others, annotation, image_id=number) for annotation in found],
            )

    def scores(self) -> dict[str, Any]:
        """What `evaluate_coco` returns."""
        counts = np.zeros(len(self.categories), np.int64)
        for sample in self.truth.values():
            counts += np.bincount(sample.labels[~sample.crowd], minlength=len(self.categories))
        per_class: dict[str, dict[str, Any]] = {category.name: {} for category in self.categories}
        scores: dict[str, Any] = {}
        for kind, evaluator in self._evaluators.items():
            evaluation = evaluator.finalize()
            evaluation.accumulate()
            assert evaluation.eval is not None
            precision = np.asarray(evaluation.eval["precision"])  # (T, R, K, sizes, limits), -1 where there is no truth
            recall = np.asarray(evaluation.eval["recall"])  # (T, K, sizes, limits)
            scores[kind] = _overall(precision, recall, self.limits)
            for k, category in enumerate(self.categories):
                per_class[category.name][f"{kind}_AP"] = _mean(precision[:, :, k, 0, -1])
                per_class[category.name][f"{kind}_AP50"] = _mean(precision[_IOU_50, :, k, 0, -1])
        for category, count in zip(self.categories, counts):
            per_class[category.name]["num_objects"] = int(count)
        of_keypoints = None if self._keypoints is None else self._keypoints.scores()
        if of_keypoints is not None:
            scores["keypoints"] = of_keypoints
        return {**scores, "per_class": per_class, "max_detections": self.limits}

    def _sample(self, image_id: int) -> Sample:
        if image_id not in self.truth:
            raise ValueError(f"A result is of image_id {image_id}, which the data does not have; is it of other images?")
        return self.truth[image_id]


def _overall(precision: np.ndarray, recall: np.ndarray, limits: list[int]) -> dict[str, float | None]:
    """COCO's twelve numbers, and one more AR for each further limit."""
    values = {
        "AP": precision[:, :, :, 0, -1],
        "AP50": precision[_IOU_50, :, :, 0, -1],
        "AP75": precision[_IOU_75, :, :, 0, -1],
        **{f"AP_{size}": precision[:, :, :, a, -1] for a, size in enumerate(_SIZES) if a},
        **{f"AR_{limit}": recall[:, :, 0, m] for m, limit in enumerate(limits)},
        **{f"AR_{size}": recall[:, :, a, -1] for a, size in enumerate(_SIZES) if a},
    }
    return {name: _mean(value) for name, value in values.items()}


def _mean(values: np.ndarray) -> float | None:
    """The mean of what could be measured, the library's -1 left out; None where nothing could."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _xywh(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return [left, top, right - left, bottom - top]


def _annotation(category: int, box: Sequence[float], rle: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"category_id": category, "bbox": list(box), "segmentation": rle, **rest}


def _without(names: set[str], annotation: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**annotation, **changes}.items() if key not in names}
