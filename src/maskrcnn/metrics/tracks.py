"""Scores of tracks: HOTA, MOTA, IDF1 and sMOTSA, by the library trackeval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hotcoco import mask as coco_mask

from maskrcnn import extras
from maskrcnn.structures import TrackedObjects

SAME = 0.5  # least IoU of MOTA, IDF1 and of what counts as ignored: MOTChallenge's

Video = Mapping[int, TrackedObjects]


def evaluate_tracks(truth: Mapping[str, Video], result: Mapping[str, Video]) -> dict[str, Any]:
    """Scores tracks against the truth, over all videos together, as MOTChallenge does.

    Masks are compared where both have them, else boxes. Objects of different classes are never the same, where both say their
    classes, unless each has one class alone. What a result finds of the truth's ignored objects is neither right nor wrong.

    Args:
        truth: for each video its frames by number; frames without objects may be missing.
        result: likewise. A video of its own may have any name.

    Returns:
        "HOTA", "DetA", "AssA", "LocA" (Luiten et al. 2021, mean over IoU from 0.05 to 0.95), "MOTA", "MOTP", "IDF1", "IDP",
        "IDR", from 0 to 1 (MOTA may be less); with masks "sMOTSA" (Voigtlaender et al. 2019). "switches" of ids,
        "fragmentations", "missed", "wrong", "objects" of the truth; "tracks" of the truth and "tracks_found";
        "compared": "masks" or "boxes"; "note": a line, where the only class of each has another number, and was taken for the
        same; and "per_video" the same for each where there are several.

    Raises:
        ValueError: for a video of the truth that the result does not have; for no truth at all; for several classes of which
            truth and result share none.
        ImportError: trackeval is not installed.
    """
    metrics = extras.load("trackeval.metrics", extra="tracking", why="Scores of tracks need trackeval")
    pairs, masks = _paired(truth, result), _have_masks(truth, result)
    scorers = [metrics.HOTA()] + [
        kind({"PRINT_CONFIG": False, "THRESHOLD": SAME}) for kind in (metrics.CLEAR, metrics.Identity)
    ]
    note = _note_on_classes(pairs)
    prepared = {name: _prepare(*pair, masks=masks, by_class=not note) for name, pair in pairs.items()}
    if not any(data["num_gt_dets"] for data in prepared.values()):
        raise ValueError("The truth has no objects, so nothing can be scored.")
    by_scorer = [{name: scorer.eval_sequence(data) for name, data in prepared.items()} for scorer in scorers]
    together = [scorer.combine_sequences(scores) for scorer, scores in zip(scorers, by_scorer)]
    answer = _summary(together, list(prepared.values()), masks) | ({"note": note} if note else {})
    if len(pairs) > 1:
        answer["per_video"] = {
            name: _summary([scores[name] for scores in by_scorer], [data], masks) for name, data in prepared.items()
        }
    return answer


def prepare_tracks(truth: Mapping[str, Video], result: Mapping[str, Video]) -> dict[str, dict[str, Any]]:
    """Each video as `evaluate_tracks` compares it, by the truth's name of it.

    Returns:
        For each video `frames`, their numbers; `gt_ids` and `tracker_ids`, for each frame the ids counted from 0; and
        `similarity_scores`, for each frame (N, M) IoU, 0 between different classes; `gt_names` and `tracker_names`, the ids as
        the files have them.

    Raises:
        ValueError: as `evaluate_tracks`.
    """
    pairs, masks = _paired(truth, result), _have_masks(truth, result)
    note = _note_on_classes(pairs)
    return {name: _prepare(*pair, masks=masks, by_class=not note) for name, pair in pairs.items()}


def _have_masks(truth: Mapping[str, Video], result: Mapping[str, Video]) -> bool:
    return all(objects.rles is not None for video in (*truth.values(), *result.values()) for objects in video.values())


def _paired(truth: Mapping[str, Video], result: Mapping[str, Video]) -> dict[str, tuple[Video, Video]]:
    if len(truth) == len(result) == 1:
        return {name: (video, next(iter(result.values()))) for name, video in truth.items()}
    missing = sorted(set(truth) - set(result))
    if missing:
        raise ValueError(f"The result has no tracks of {missing[0]}; videos are matched by name, it has {', '.join(result)}.")
    return {name: (video, result[name]) for name, video in truth.items()}


def _note_on_classes(pairs: Mapping[str, tuple[Video, Video]]) -> str:
    """What is to be said where truth and result share no class: MOTS numbers a pedestrian 2, a model whatever its data did."""
    said = [pair for pair in pairs.values() if _say_classes(*pair)]
    wanted = {label for truth, _ in said for objects in truth.values() for label in objects.labels[_counted(objects)].tolist()}
    found = {label for _, result in said for objects in result.values() for label in objects.labels.tolist()}
    if not wanted or not found or wanted & found:
        return ""
    if len(wanted) == len(found) == 1:
        return f"The truth's only class is {min(wanted)}, the result's {min(found)}: they were taken for the same."
    has = " and the result ".join(", ".join(map(str, sorted(labels))) for labels in (wanted, found))
    raise ValueError(f"Nothing can be compared: the truth has the classes {has}. The same classes need the same numbers.")


def _say_classes(truth: Video, result: Video) -> bool:
    return all(objects.labels.any() for video in (truth, result) for objects in video.values() if len(objects.ids))


def _counted(objects: TrackedObjects) -> np.ndarray:
    """(N,) bool: what of the truth is to be found."""
    left_out = [rows for rows in (objects.ignored, objects.unwanted) if rows is not None]
    return ~np.any([np.zeros(len(objects.ids), bool), *left_out], axis=0)


def _prepare(truth: Video, result: Video, *, masks: bool, by_class: bool) -> dict[str, Any]:
    """One video as trackeval takes it: for each frame ids from 0 and how alike objects are."""
    by_class = by_class and _say_classes(truth, result)
    true_ids: dict[int, int] = {}
    found_ids: dict[int, int] = {}
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    frames = sorted({*truth, *result})
    for frame in frames:
        true, found = (_of(video, frame, masks) for video in (truth, result))
        alike = _similarity(true, found)
        if by_class:
            alike = np.where(true.labels[:, None] == found.labels, alike, 0)
        ignored = np.zeros(len(true.ids), bool) if true.ignored is None else true.ignored
        counted = _counted(true)
        kept = ~_on_ignored(true, found, alike, ignored)
        data["gt_ids"].append(_numbered(true.ids[counted], true_ids))
        data["tracker_ids"].append(_numbered(found.ids[kept], found_ids))
        data["similarity_scores"].append(alike[counted][:, kept])
    return data | {
        "frames": frames,
        "gt_names": list(true_ids),
        "tracker_names": list(found_ids),
        "num_timesteps": len(data["gt_ids"]),
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(found_ids),
        "num_gt_dets": sum(map(len, data["gt_ids"])),
        "num_tracker_dets": sum(map(len, data["tracker_ids"])),
    }


def _of(video: Video, frame: int, masks: bool) -> TrackedObjects:
    nothing = TrackedObjects(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), [])
    objects = video.get(frame, nothing)
    return objects if masks else objects._replace(rles=None)


def _similarity(true: TrackedObjects, found: TrackedObjects) -> np.ndarray:
    """(N, M) IoU of masks or boxes."""
    if not len(true.ids) or not len(found.ids):
        return np.zeros((len(true.ids), len(found.ids)))
    none = [False] * len(found.ids)
    if true.rles is not None and found.rles is not None:
        return np.asarray(coco_mask.iou(true.rles, found.rles, none)).reshape(len(true.ids), len(found.ids))
    one, other = (
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(float) for boxes in (true.boxes, found.boxes)
    )
    return np.asarray(coco_mask.iou(one, other, none)).reshape(len(true.ids), len(found.ids))


def _on_ignored(true: TrackedObjects, found: TrackedObjects, alike: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """(M,) bool: what is found of the truth's ignored objects, by the rules of MOTChallenge for boxes and of MOTS for masks.

    Boxes: what is matched to one, while all objects are matched. Masks: what is matched to none of the others, and lies by
    more than half in one.
    """
    if not ignored.any() or not alike.size:
        return np.zeros(alike.shape[1], bool)
    assign = extras.load("scipy.optimize", extra="tracking", why="Scores of tracks need scipy").linear_sum_assignment
    masks = true.rles is not None
    likely = np.where((alike >= SAME) & (~ignored[:, None] | (not masks)), alike, 0)
    rows, columns = assign(likely, maximize=True)
    rows, columns = rows[likely[rows, columns] > 0], columns[likely[rows, columns] > 0]
    if not masks:
        return np.isin(np.arange(alike.shape[1]), columns[ignored[rows]])
    regions = [rle for rle, is_ignored in zip(true.rles or [], ignored) if is_ignored]
    inside = np.asarray(
        coco_mask.iou(found.rles or [], regions, [True] * len(regions))
    )  # of a crowd: shared over the first's area
    return (inside.reshape(-1, len(regions)) > SAME).any(axis=1) & ~np.isin(np.arange(alike.shape[1]), columns)


def _numbered(ids: np.ndarray, known: dict[int, int]) -> np.ndarray:
    return np.array([known.setdefault(number, len(known)) for number in ids.tolist()], int)


def _summary(scores: list[dict[str, Any]], data: list[dict[str, Any]], masks: bool) -> dict[str, Any]:
    hota, clear, identity = scores
    answer: dict[str, Any] = {name: float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA", "LocA")}
    answer |= {name: float(clear[name]) for name in ("MOTA", "MOTP")}
    answer |= {"sMOTSA": float(clear["sMOTA"])} if masks else {}
    answer |= {name: float(identity[name]) for name in ("IDF1", "IDP", "IDR")}
    counts = {"switches": "IDSW", "fragmentations": "Frag", "missed": "CLR_FN", "wrong": "CLR_FP"}
    answer |= {name: int(clear[field]) for name, field in counts.items()}
    for name, field in (("objects", "num_gt_dets"), ("tracks", "num_gt_ids"), ("tracks_found", "num_tracker_ids")):
        answer[name] = sum(video[field] for video in data)
    return answer | {"compared": "masks" if masks else "boxes"}
