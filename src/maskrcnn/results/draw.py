"""Images of results: translucent masks with outlines, boxes, and captions where they can be read."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_area, rle_to_box, rle_to_mask
from maskrcnn.structures import Detections, Sample

_OPACITY = 0.4  # of a mask; its outline is opaque
_MOST_CAPTIONS = 60  # with more objects captions hide what they name …
_CAPTION_SHARE = 0.2  # … and likewise where their plates would take more than this part of the image
_MOST_HIDDEN = 0.5  # of small objects under one caption, in objects
_DARKEST = 110  # luma of the darkest color, to stand out from a microscope's black
_WEIGHT = 500  # of the font, medium
_LEAST_KEYPOINT = 0.05  # score of a keypoint that is drawn; detectron2's `_KEYPOINT_THRESHOLD`

_Plate = tuple[int, int, int, int]  # left, top, right, bottom of a caption's ground
_Cutout = tuple[np.ndarray, tuple[int, int]]  # (h, w) bool, cut out of a mask at (left, top)


def draw_detections(image: np.ndarray, detections: Detections, *, show_scores: bool = True) -> np.ndarray:
    """A copy of the image with its detections drawn in.

    Colors tell classes apart, or objects where the model has one class only. Captions shrink, or go together with the
    boxes, where objects are too many for text; masks and outlines always stay.

    Args:
        image: (H, W, C) uint8, the original image; drawn on as `as_rgb` shows it.
        detections: what was found in it.
        show_scores: whether captions hold the scores.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for an image that is no (H, W, C) uint8, or not of the detections' size.
    """
    _check(image, detections.size)
    one_class = len(detections.class_names) < 2
    names = detections.names if detections.class_names else [""] * len(detections)
    scores = [f"{score:.2f}" if show_scores else "" for score in detections.scores]
    captions = [[f"{name} {score}".strip() for name, score in zip(names, scores)], scores if one_class else names]
    drawn = _draw(as_rgb(image), detections.boxes, _of(detections), _colours(detections), captions)
    return _with_found_keypoints(drawn, detections)


def draw_masks(image: np.ndarray, detections: Detections) -> np.ndarray:
    """A copy of the image with masks and outlines alone, in the colors of `draw_detections`: for images too small for text.

    Args:
        image: (H, W, C) uint8, the original image; drawn on as `as_rgb` shows it.
        detections: what was found in it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for an image that is no (H, W, C) uint8, or not of the detections' size.
    """
    _check(image, detections.size)
    return _with_found_keypoints(_draw(as_rgb(image), detections.boxes, _of(detections), _colours(detections), []), detections)


def _colours(detections: Detections) -> list[tuple[int, int, int]]:
    """Of classes, or of objects where the model has one class only."""
    keys = range(len(detections)) if len(detections.class_names) < 2 else detections.labels
    return [colour_of(int(key)) for key in keys]


def draw_truth(image: np.ndarray, sample: Sample, categories: Sequence[Category]) -> np.ndarray:
    """A copy of the image with its annotated objects drawn in, in the manner and colors of `draw_detections`.

    Args:
        image: (H, W, C) uint8, the original image; drawn on as `as_rgb` shows it.
        sample: its truth.
        categories: what the sample's labels mean.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for an image that is no (H, W, C) uint8, or not of the sample's size.
    """
    _check(image, sample.size)
    names = [categories[label].name + " (crowd)" * bool(crowd) for label, crowd in zip(sample.labels, sample.crowd)]
    colour_keys = range(len(names)) if len(categories) < 2 else sample.labels
    order = sorted(range(len(names)), key=lambda k: -rle_area(sample.rles[k]))
    masks = ((k, _cut(sample.rles[k])) for k in order)
    colours = [colour_of(int(key)) for key in colour_keys]
    drawn = _draw(as_rgb(image), sample.boxes, masks, colours, [names])
    if sample.keypoints is not None:
        skeleton = next((category.skeleton for category in categories if category.skeleton), ())
        _draw_keypoints(drawn, sample.keypoints, sample.keypoints[..., 2] > 0, skeleton)
    return drawn


def draw_tracks(
    image: np.ndarray, detections: Detections, *, trails: Mapping[int, Sequence[tuple[float, float]]] | None = None
) -> np.ndarray:
    """A copy of a video's frame with its tracks drawn in: each id has a color of its own that stays.

    Args:
        image: (H, W, C) uint8, the frame; drawn on as `as_rgb` shows it.
        detections: what was found in it, with `track_ids`.
        trails: for each id the places (x, y) where it came by, the last ones last.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for a frame that is no (H, W, C) uint8 or not of the detections' size, or detections without ids.
    """
    _check(image, detections.size)
    if detections.track_ids is None:
        raise ValueError("Tracks have ids; received Detections whose track_ids are None. maskrcnn.track gives them.")
    canvas = np.array(as_rgb(image))
    line = max(1, round(min(image.shape[:2]) / 500))
    for number, places in (trails or {}).items():
        points = np.rint(np.array(places) * 8).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [points], False, colour_of(number), line, cv2.LINE_AA, shift=3)
    ids = detections.track_ids.tolist()
    names = detections.names if len(detections.class_names) > 1 else [""] * len(detections)
    captions = [[f"{name} {number}".strip() for name, number in zip(names, ids)], [str(number) for number in ids]]
    drawn = _draw(canvas, detections.boxes, _of(detections), [colour_of(number) for number in ids], captions)
    return _with_found_keypoints(drawn, detections)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image of any channels as people see it, where need be in false colors.

    One channel is gray. Two are magenta and green, which those see apart too who cannot tell red from green, and which are gray
    where both are equal. Of more than three the first three are red, green and blue.

    Args:
        image: (H, W, C) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    shown = {1: [0, 0, 0], 2: [0, 1, 0]}.get(image.shape[2], [0, 1, 2])
    return image if image.shape[2] == 3 else np.ascontiguousarray(image[:, :, shown])


def _cut(rle: dict[str, Any]) -> _Cutout:
    left, top, right, bottom = rle_to_box(rle).astype(int).tolist()
    return rle_to_mask(rle)[top:bottom, left:right], (left, top)


def _of(detections: Detections) -> Iterator[tuple[int, _Cutout]]:
    """Each detection's number and its mask, the largest first; pasted one at a time."""
    order = sorted(range(len(detections)), key=lambda k: -rle_area(detections.rle()[k]))
    return zip(order, detections[order].cutouts())


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """A copy of an (H, W, C) uint8 image, its sides so many times as long."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return image.copy() if scale == 1 else cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=way)


def _draw(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: Iterable[tuple[int, _Cutout]],
    colours: list[tuple[int, int, int]],
    captions: list[list[str]],
) -> np.ndarray:
    """Masks, then boxes, then captions: the first of the lists of captions that the image has room for.

    Masks come the largest first, so that small objects lie on large ones.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    line = max(1, round(min(height, width) / 500))
    for k, cutout in masks:
        _draw_mask(canvas, cutout, colours[k], line)
    texts = next((texts for texts in captions if _room_for(texts, (height, width))), None)
    if texts is None:
        return canvas
    for box, colour in zip(boxes, colours):
        left, top, right, bottom = np.rint(box).astype(int).tolist()
        cv2.rectangle(canvas, (left, top), (max(left, right - 1), max(top, bottom - 1)), colour, line)
    for k, plate in _place(texts, boxes, (height, width)).items():
        _draw_caption(canvas, texts[k], plate, colours[k])
    return canvas


def _with_found_keypoints(canvas: np.ndarray, detections: Detections) -> np.ndarray:
    if detections.keypoints is not None:
        _draw_keypoints(canvas, detections.keypoints, detections.keypoints[..., 2] >= _LEAST_KEYPOINT, detections.skeleton)
    return canvas


def _draw_keypoints(canvas: np.ndarray, keypoints: np.ndarray, shown: np.ndarray, skeleton: Sequence[tuple[int, ...]]) -> None:
    """Joins and dots of keypoints (N, K, 3), those that are shown (N, K); each keypoint has a color of its own."""
    line = max(1, round(min(canvas.shape[:2]) / 400))
    colours = [colour_of(number) for number in range(keypoints.shape[1])]
    reach = 2 * max(canvas.shape)  # OpenCV's places are 16 bits before its shift
    for own, visible in zip(np.rint(keypoints[..., :2].clip(-reach, reach) * 8).astype(int).tolist(), shown):
        for one, other in skeleton:
            if visible[one] and visible[other]:
                cv2.line(canvas, own[one], own[other], colours[other], line, cv2.LINE_AA, shift=3)
        for place in np.flatnonzero(visible).tolist():
            cv2.circle(canvas, own[place], 8 * 2 * line, (0, 0, 0), cv2.FILLED, cv2.LINE_AA, shift=3)
            cv2.circle(canvas, own[place], 8 * 2 * line - 8, colours[place], cv2.FILLED, cv2.LINE_AA, shift=3)


def _draw_mask(canvas: np.ndarray, cutout: _Cutout, colour: tuple[int, int, int], line: int) -> None:
    """Tints the mask's pixels and paints its rim, `line` pixels wide; nothing outside of it, where a neighbor may touch."""
    mask, (left, top) = cutout
    if not mask.size:
        return
    inner = cv2.erode(
        mask.view(np.uint8), np.ones((3, 3), np.uint8), iterations=line, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    region = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    tints = (np.arange(256)[:, None] * (1 - _OPACITY) + np.array(colour) * _OPACITY).astype(np.uint8)  # (256, 3)
    np.copyto(region, cv2.LUT(region, tints[:, None]), where=mask[:, :, None])
    region[mask & (inner == 0)] = colour


def _room_for(texts: list[str], size: tuple[int, int]) -> bool:
    plates = [_extent(text, size) for text in texts]
    return len(texts) <= _MOST_CAPTIONS and sum(w * h for w, h in plates) <= _CAPTION_SHARE * size[0] * size[1]


def _place(texts: list[str], boxes: np.ndarray, size: tuple[int, int]) -> dict[int, _Plate]:
    """Where captions lie: at their box, inside the image, on no other caption, and where they hide least of small objects.

    A caption that finds no such place is left out.
    """
    height, width = size
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1)
    placed: dict[int, _Plate] = {}
    for k, text in enumerate(texts):
        w, h = _extent(text, size)
        left, top, right, bottom = np.rint(boxes[k]).astype(int).tolist()
        corners = [(left, top - h), (right - w, top - h), (left, bottom), (right - w, bottom)]  # outside, above and below
        corners += [(left, top), (right - w, top), (left, bottom - h), (right - w, bottom - h)]  # inside
        corners += [(right, top), (left - w, top), (right, bottom - h), (left - w, bottom - h)]  # beside
        starts = np.clip(corners, 0, np.maximum((width - w, height - h), 0))
        plates = np.concatenate([starts, starts + np.array([w, h])], axis=1)
        plates = plates[~_shared(plates, np.array(list(placed.values())).reshape(-1, 4)).any(axis=1)]
        hidden = (_shared(plates, boxes) / areas).sum(axis=1)  # in objects
        least = hidden.min(initial=np.inf)
        if text and least <= _MOST_HIDDEN:
            left, top, right, bottom = plates[hidden <= least + 0.1][0].tolist()  # rather above than better
            placed[k] = left, top, right, bottom
    return placed


def _shared(plates: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P, N) square pixels that each of the plates (P, 4) shares with each of the boxes (N, 4)."""
    starts = np.maximum(plates[:, None, :2], boxes[:, :2])
    ends = np.minimum(plates[:, None, 2:], boxes[:, 2:])
    return np.maximum(ends - starts, 0).prod(axis=2)


def _draw_caption(canvas: np.ndarray, text: str, plate: _Plate, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = plate
    font_size = _font_size(canvas.shape)
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)
    ink = (0, 0, 0) if _luma(colour) > 140 else (255, 255, 255)
    origin = (left + _margin(font_size), bottom - _margin(font_size) - font_size // 5)  # of the base line
    cv2.putText(canvas, text, origin, ink, _font(), font_size, _WEIGHT)


def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")  # comes with OpenCV 5; has accents, Cyrillic and Chinese, which Pillow's does not


def _font_size(size: tuple[int, ...]) -> int:
    return round(8 + min(size[:2]) / 80)  # 11 for an image of 256 pixels, 14 for 480, 21 for 1080


def _margin(font_size: int) -> int:
    return max(1, font_size // 6)


def _extent(text: str, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a caption's plate in pixels; one height for all texts."""
    font_size = _font_size(size)
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), _font(), font_size, _WEIGHT)
    return width + 2 * _margin(font_size), font_size + 2 * _margin(font_size)


def colour_of(key: int) -> tuple[int, int, int]:
    """The key's own bright color, RGB. Hues step by the golden ratio, so that neighbors differ and none comes twice."""
    saturation, value = ((0.75, 1.0), (0.5, 1.0), (0.85, 0.9))[key // 8 % 3]
    colour = 255 * np.array(colorsys.hsv_to_rgb((0.58 + 0.618034 * key) % 1.0, saturation, value))
    whiter = max(0.0, (_DARKEST - _luma(colour)) / (255 - _luma(colour)))
    red, green, blue = np.rint(colour + (255 - colour) * whiter).astype(int).tolist()
    return red, green, blue


def _luma(colour: Sequence[float] | np.ndarray) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))  # ITU-R BT.601


def _check(image: np.ndarray, size: tuple[int, int]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or not image.shape[2]:
        raise ValueError(f"An image to draw on is (H, W, C) uint8; received {image.shape} {image.dtype}.")
    if image.shape[:2] != tuple(size):
        raise ValueError(f"The image's size is {image.shape[:2]} and the results' {tuple(size)}; both are (height, width).")
