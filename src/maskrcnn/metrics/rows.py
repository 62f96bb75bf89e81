"""All results on a data set at once, as columns, and hotcoco's evaluator over them.

`metrics.coco` matches image by image and lets go, on `StreamingEval`. What explains errors needs every row beside the ground
truth: on the object of `StreamingEval.finalize()` hotcoco 1.3's TIDE, confusion matrix, calibration and diagnostics answer
zeros without a word. Masks are held as the bytes of their RLE, about 150 bytes an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from hotcoco import COCO, COCOeval

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_from_json, rle_to_box, rle_to_json
from maskrcnn.structures import Detections, Sample

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's
_ALL_AREAS = [0.0, 1e10]  # COCO's "all"


@dataclass(frozen=True, eq=False)
class ResultRows:
    """The results on a data set, one row each, in the order of the images' ids and best first within an image.

    Attributes:
        images: (N,) int64, place of the image in the list of samples.
        labels: (N,) int64, index into the data's categories.
        scores: (N,) float64.
        boxes: (N, 4) float64 xyxy, original pixels.
        counts: N RLE strings of COCO.
        keypoints: of each row what COCO's file has, nothing where it has none; None where no row has any.
    """

    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    counts: list[bytes]
    keypoints: list[list[float]] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray) -> ResultRows:
        """The rows chosen by an index array or a boolean array."""
        rows = np.arange(len(self))[rows]
        chosen = [self.counts[row] for row in rows]
        keypoints = None if self.keypoints is None else [self.keypoints[row] for row in rows]
        return ResultRows(self.images[rows], self.labels[rows], self.scores[rows], self.boxes[rows], chosen, keypoints)

    def rle(self, row: int, samples: Sequence[Sample]) -> dict[str, Any]:
        """The mask of one row."""
        return {"size": list(samples[int(self.images[row])].size), "counts": self.counts[row]}


class RowCollector:
    """Gathers `ResultRows` image by image, while the model runs.

    Args:
        samples: the ground truth.
        categories: what its labels mean. Detections belong to the category of their class's name, or of their label where they
            name no classes; those of a class that the data does not have are left out, as in `evaluate_coco`.
    """

    def __init__(self, samples: Sequence[Sample], categories: Sequence[Category]) -> None:
        self._places = {sample.image_id: place for place, sample in enumerate(samples)}
        self._sizes = [tuple(sample.size) for sample in samples]
        self._order = np.argsort([sample.image_id for sample in samples], kind="stable")
        self._labels = {category.name: label for label, category in enumerate(categories)}
        self._by_id = {category.id: label for label, category in enumerate(categories)}
        self._rows: list[tuple[int, int, float, list[float], bytes, list[float]]] = []

    def add(self, image_id: int, detections: Detections) -> None:
        """Keeps one image's detections."""
        names = detections.class_names or list(self._labels)
        rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), detections.rle())
        for number, (box, score, label, rle) in enumerate(rows):
            if names[label] in self._labels:
                own = detections.keypoint_row(number)
                self._append(image_id, self._labels[names[label]], score, box, rle["counts"], **own)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Keeps one row of a COCO result file, see `evaluate_coco`.

        Raises:
            ValueError: an image or a category that the data does not have, or a mask that cannot be read.
        """
        image_id, category_id = row["image_id"], row["category_id"]
        if image_id not in self._places:
            raise ValueError(f"A result is of image_id {image_id}, which the data does not have; is it of other images?")
        if category_id not in self._by_id:
            known = ", ".join(map(str, self._by_id))
            raise ValueError(f"A result of image_id {image_id} has category_id {category_id}; the data has {known}.")
        rle = rle_from_json(row["segmentation"], self._sizes[self._places[image_id]])  # type: ignore[arg-type]
        if "bbox" in row:
            left, top, width, height = row["bbox"]
            box = [left, top, left + width, top + height]
        else:
            box = rle_to_box(rle).tolist()
        keypoints = list(row.get("keypoints") or ())
        self._append(image_id, self._by_id[category_id], float(row["score"]), box, rle["counts"], keypoints)

    def _append(
        self, image_id: int, label: int, score: float, box: list[float], counts: bytes, keypoints: Sequence[float] = ()
    ) -> None:
        self._rows.append((self._places[image_id], label, score, box, counts, list(keypoints)))

    def rows(self) -> ResultRows:
        """All that was kept."""
        places, labels, scores, boxes, counts, keypoints = zip(*self._rows) if self._rows else ((), (), (), (), (), ())
        rows = ResultRows(
            np.array(places, np.int64),
            np.array(labels, np.int64),
            np.array(scores, np.float64),
            np.array(boxes, np.float64).reshape(-1, 4),
            list(counts),
            list(keypoints) if any(keypoints) else None,
        )
        number = np.empty(len(self._order), np.int64)
        number[self._order] = np.arange(len(self._order))
        return rows[np.lexsort((-rows.scores, number[rows.images]))]


def collect_rows(
    samples: Sequence[Sample],
    categories: Sequence[Category],
    results: Iterable[tuple[int, Detections]] | Iterable[Mapping[str, Any]],
) -> ResultRows:
    """`ResultRows` of what `evaluate_coco` takes: pairs of (image_id, Detections), or rows of a COCO result file."""
    collector = RowCollector(samples, categories)
    for result in results:
        if isinstance(result, Mapping):
            collector.add_row(result)
        else:
            collector.add(*result)
    return collector.rows()


@dataclass(frozen=True, eq=False)
class Objects:
    """The ground truth of all images as columns, `G` objects in the order of the samples; original pixels."""

    images: np.ndarray  # (G,) int64, place in the list of samples
    places: np.ndarray  # (G,) int64, which object of its sample
    labels: np.ndarray  # (G,) int64
    boxes: np.ndarray  # (G, 4) float64 xyxy
    areas: np.ndarray  # (G,) float64, as annotated
    crowd: np.ndarray  # (G,) bool
    rles: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.labels)


def objects_of(samples: Sequence[Sample]) -> Objects:
    counts = [len(sample.labels) for sample in samples]

    def joined(name: str, kind: Any, tail: tuple[int, ...] = ()) -> np.ndarray:
        parts = [np.asarray(getattr(sample, name), kind) for sample in samples]
        return np.concatenate([np.zeros((0, *tail), kind), *parts])

    return Objects(
        images=np.repeat(np.arange(len(samples)), counts),
        places=np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]).astype(np.int64),
        labels=joined("labels", np.int64),
        # The thousandth takes back what float32 did to coordinates that files hold to a hundredth, as in `metrics.coco`.
        boxes=np.round(joined("boxes", np.float64, (4,)), 3),
        areas=joined("areas", np.float64),
        crowd=joined("crowd", bool),
        rles=[rle for sample in samples for rle in sample.rles],
    )


class Matches(NamedTuple):
    """What became of `N` results and `G` objects at `T` IoU thresholds, by COCO's matching within each class."""

    correct: np.ndarray  # (T, N) bool; the result found an object
    counted: np.ndarray  # (T, N) bool; False where it lies in a crowd region or after the last result that is looked at
    found: np.ndarray  # (T, G) bool
    partner: np.ndarray  # (N,) int64, the object that a result found at the first threshold, -1 for none


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results and ground truth of a whole data set, as hotcoco compares them: by their masks.

    Attributes:
        samples: the ground truth.
        categories: what labels mean.
        rows: the results.
        max_detections: so many of an image and a class are looked at.
    """

    samples: Sequence[Sample]
    categories: Sequence[Category]
    rows: ResultRows
    max_detections: int = 100

    @cached_property
    def objects(self) -> Objects:
        return objects_of(self.samples)

    @cached_property
    def library(self) -> COCOeval:
        """hotcoco's evaluator, evaluated and accumulated; results and objects have the ids 1, 2, … in the order of the rows."""
        evaluator = self.evaluator()
        evaluator.evaluate()
        evaluator.accumulate()
        return evaluator

    def evaluator(self, *, areas: tuple[np.ndarray, np.ndarray] | None = None) -> COCOeval:
        """hotcoco's evaluator before it evaluates, over all areas.

        Args:
            areas: ((G,), (N,)) what takes the place of the objects' and the results' areas in the library's area ranges.
        """
        truth, found = self._truth(), self._results
        results = truth.load_res(found[0], segmentation=found[1])
        if areas is not None:
            truth.update_anns(ids=np.arange(1, len(self.objects) + 1), area=areas[0])
            results.update_anns(ids=np.arange(1, len(self.rows) + 1), area=areas[1])
        evaluator = COCOeval(truth, results, "segm")
        evaluator.params.max_dets = [self.max_detections]
        evaluator.params.area_rng, evaluator.params.area_rng_lbl = [_ALL_AREAS], ["all"]
        return evaluator

    def as_json(self) -> Iterator[dict[str, Any]]:
        """The results as rows of a COCO result file, with the ground truth's ids of images and categories."""
        rows = self.rows
        for row, box in enumerate(_xywh(rows.boxes).tolist()):
            sample, category = self.samples[int(rows.images[row])], self.categories[int(rows.labels[row])]
            yield {
                "file_name": sample.file_name,
                "image_id": sample.image_id,
                "category_id": category.id,
                "category_name": category.name,
                "bbox": box,
                "score": float(rows.scores[row]),
                "segmentation": rle_to_json(rows.rle(row, self.samples)),
                **({"keypoints": rows.keypoints[row]} if rows.keypoints and rows.keypoints[row] else {}),
            }

    def _truth(self) -> COCO:
        objects = self.objects
        sizes = [sample.size for sample in self.samples]
        images = [{"id": int(number), "height": height, "width": width} for number, (height, width) in zip(self.numbers, sizes)]
        return COCO.from_arrays(
            images,
            [{"id": label, "name": category.name} for label, category in enumerate(self.categories, start=1)],
            self.numbers[objects.images],
            objects.labels + 1,
            _xywh(objects.boxes),
            ids=np.arange(1, len(objects) + 1),
            area=objects.areas,
            iscrowd=objects.crowd,
            segmentation=list[Any](objects.rles),
        )

    @cached_property
    def _results(self) -> tuple[np.ndarray, list[Any]]:
        rows = self.rows
        table = np.concatenate(
            [self.numbers[rows.images][:, None], _xywh(rows.boxes), rows.scores[:, None], rows.labels[:, None] + 1.0], axis=1
        )
        return table, [rows.rle(row, self.samples) for row in range(len(rows))]

    @cached_property
    def numbers(self) -> np.ndarray:
        """What the library calls each image: 1, 2, … in the order of their ids, in which pycocotools breaks ties of scores."""
        order = np.argsort([sample.image_id for sample in self.samples], kind="stable")
        numbers = np.empty(len(self.samples), np.int64)
        numbers[order] = np.arange(1, len(self.samples) + 1)
        return numbers

    @cached_property
    def matches(self) -> Matches:
        num_thresholds, num_rows, num_objects = len(IOU_THRESHOLDS), len(self.rows), len(self.objects)
        correct = np.zeros((num_thresholds, num_rows), bool)
        counted = np.zeros((num_thresholds, num_rows), bool)
        found = np.zeros((num_thresholds, num_objects), bool)
        partner = np.full(num_rows, -1, np.int64)
        for entry in self.library.eval_imgs:
            if entry is None:
                continue
            if entry["dtIds"]:
                ids = np.array(entry["dtIds"]) - 1
                counted[:, ids] = ~np.array(entry["dtIgnore"], bool)
                correct[:, ids] = np.array(entry["dtMatched"], bool) & counted[:, ids]
                partner[ids] = np.where(correct[0, ids], np.array(entry["dtMatches"][0], np.int64) - 1, -1)
            if entry["gtIds"]:
                found[:, np.array(entry["gtIds"]) - 1] = np.array(entry["gtMatched"], bool) & ~np.array(entry["gtIgnore"], bool)
        return Matches(correct, counted, found, partner)

    @cached_property
    def num_objects(self) -> np.ndarray:
        """(K,) how many objects of each class there are to be found; crowd regions are not."""
        return np.bincount(self.objects.labels[~self.objects.crowd], minlength=len(self.categories))

    def at(self, thresholds: np.ndarray) -> Evaluation:
        """The same without the results below their class's score threshold (K,), and without those in crowd regions."""
        kept = self.matches.counted[0] & (self.rows.scores >= thresholds[self.rows.labels])
        return replace(self, rows=self.rows[kept])


def _xywh(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) xyxy to left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
