"""`mrcnn.visualize`: images of masks and boxes, shown with Matplotlib, which old scripts bring with them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from maskrcnn import extras
from maskrcnn.compat.matterport.dataset import as_rgb
from maskrcnn.compat.matterport.successors import successors

Colour = tuple[float, float, float]  # of red, green and blue, 0 to 1

__getattr__ = successors(
    "visualize",
    {
        "display_differences": "maskrcnn evaluate --report DIR shows what was missed and what was wrong.",
        "display_table": "pandas.DataFrame or rich.table.Table does that.",
        "display_weight_stats": "model.keras_model.weights has the arrays, with their paths.",
        "draw_boxes": "display_instances(…, show_mask=False) draws boxes.",
        "draw_rois": "model.keras_model.inspect(image) shows the proposals.",
        "plot_overlaps": "maskrcnn evaluate --report DIR shows the confusion of classes.",
        "plot_precision_recall": "maskrcnn evaluate --report DIR plots precision over recall.",
    },
)


def random_colors(N: int, bright: bool = True, rng: np.random.Generator | None = None) -> list[Colour]:  # noqa: N803
    """So many colors of hues that are as far apart as can be, in a random order; `bright` ones are lighter."""
    colours = [colorsys.hsv_to_rgb(number / N, 1.0, 1.0 if bright else 0.7) for number in range(N)]
    order = (rng or np.random.default_rng()).permutation(N)
    return [colours[place] for place in order]


def apply_mask(image: np.ndarray, mask: np.ndarray, color: Sequence[float], alpha: float = 0.5) -> np.ndarray:
    """A copy of an image (H, W, 3) with a color over a mask (H, W); the more so, the larger alpha, 0 to 1."""
    painted = image * (1 - alpha) + alpha * 255 * np.asarray(color[:3], np.float64)
    return np.where((np.asarray(mask) != 0)[:, :, None], painted, image).astype(image.dtype)


def draw_box(image: np.ndarray, box: np.ndarray, color: Any) -> np.ndarray:
    """A copy of an image with the frame of a box (y1, x1, y2, x2), a pixel wide, in a color of 0 to 255."""
    canvas = np.ascontiguousarray(image)
    top, left, bottom, right = (int(edge) for edge in box)
    return cv2.rectangle(canvas.copy(), (left, top), (right - 1, bottom - 1), tuple(int(value) for value in color))


def display_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: Any = None,
) -> None:
    """Shows images side by side, so many in a row, each with its title."""
    pyplot = _pyplot()
    rows = max(1, -(-len(images) // cols))
    _, axes = pyplot.subplots(rows, cols, figsize=(14, 14 * rows / cols), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles or [""] * len(images)):
        ax.set_title(title, fontsize=9)
        ax.imshow(np.asarray(image), cmap=cmap, norm=norm, interpolation=interpolation)
    pyplot.show()


def display_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray,
    class_ids: np.ndarray,
    class_names: Sequence[str],
    scores: np.ndarray | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Any = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Colour] | None = None,
    captions: Sequence[str] | None = None,
) -> None:
    """Shows what was found in an image. `maskrcnn predict` writes such images to files.

    Args:
        image: (H, W, 3) RGB, 0 to 255.
        boxes: (N, 4) y1, x1, y2, x2.
        masks: (H, W, N).
        class_ids: (N,) places in `class_names`.
        scores: (N,) written behind the names.
        ax: Matplotlib's axes; without them a figure is made and shown.
        colors, captions: of each object, instead of those made here.

    Raises:
        ValueError: where boxes, masks and classes are not as many.
        ImportError: Matplotlib is not installed.
    """
    count = len(boxes)
    if not count == len(class_ids) == masks.shape[-1]:
        raise ValueError(
            f"{count} boxes, {masks.shape[-1]} masks and {len(class_ids)} classes are shown; give as many of each."
        )
    pyplot = _pyplot() if ax is None else None
    if pyplot is not None:
        _, ax = pyplot.subplots(1, figsize=figsize)
    colors = colors or random_colors(count)
    canvas = as_rgb(image)
    for number in range(count):
        if show_mask:
            canvas = apply_mask(canvas, masks[:, :, number], colors[number])
    height, width = canvas.shape[:2]
    ax.set_xlim(-10, width + 10)
    ax.set_ylim(height + 10, -10)
    ax.axis("off")
    ax.set_title(title)
    for number, (box, colour) in enumerate(zip(np.asarray(boxes).tolist(), colors)):
        if not any(box):  # a row that fills up
            continue
        top, left, bottom, right = box
        if show_bbox:
            corners = [left, right, right, left, left], [top, top, bottom, bottom, top]
            ax.plot(*corners, color=colour, linewidth=2, alpha=0.7, linestyle="dashed")
        if show_mask:
            ax.contour(_framed(masks[:, :, number]), levels=[0.5], colors=[colour], extent=(-1, width, -1, height))
        name = class_names[int(class_ids[number])]
        caption = captions[number] if captions else f"{name} {scores[number]:.3f}" if scores is not None else name
        ax.text(left, top + 8, caption, color="w", size=11, backgroundcolor="none")
    ax.imshow(canvas)
    if pyplot is not None:
        pyplot.show()


def display_top_masks(
    image: np.ndarray, mask: np.ndarray, class_ids: np.ndarray, class_names: Sequence[str], limit: int = 4
) -> None:
    """Shows an image, and beside it the masks of the classes that cover most of it, so many of them."""
    class_ids = np.asarray(class_ids)
    areas = (mask != 0).sum(axis=(0, 1))
    known = {int(number): int(areas[class_ids == number].sum()) for number in np.unique(class_ids[areas > 0])}
    first = sorted(known, key=lambda number: -known[number])[:limit]
    shown: list[np.ndarray] = [np.asarray(image)]
    titles = [f"H x W={image.shape[0]}x{image.shape[1]}"]
    for place in range(limit):
        layer = np.zeros(image.shape[:2], np.int32)
        if place < len(first):
            for number in np.where(class_ids == first[place])[0]:
                layer[mask[:, :, number] != 0] = number + 1
        shown.append(layer)
        titles.append(class_names[first[place]] if place < len(first) else "-")
    display_images(shown, titles=titles, cols=limit + 1, cmap="Blues_r")


def _framed(mask: np.ndarray) -> np.ndarray:
    """A mask with a pixel of nothing around it, so that its outline closes at the image's edge."""
    return np.pad((mask != 0).astype(np.uint8), 1)


def _pyplot() -> Any:
    return extras.load("matplotlib.pyplot", extra="plots", why="matterport's way to show images needs Matplotlib")
