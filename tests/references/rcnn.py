"""Slow, obvious twin of whole models: detectron2's and MMDetection's arithmetic, from the image to the pasted masks.

NumPy, one image at a time, float64, channels first. Weights go by the names of the project's own files, and what stands in
the file decides what is computed. `calibrated` makes random ones that find many things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

Weights = dict[str, np.ndarray]

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet, red first
CLAMP = math.log(1000 / 16)
EPSILON = 1e-5  # of every norm
STRIDES = (4, 8, 16, 32, 64)  # of P2 … P6


@dataclass(frozen=True)
class Project:
    """What one project does otherwise than the other. Layers without `.weight`; "norm of …" stands behind a convolution."""

    layers: dict[str, str]
    colours: str  # order in which the network takes them
    std: tuple[float, float, float]  # red first
    strided: int  # which convolution of a block, of three, halves the image
    resize: str  # Pillow's filter widens when it shrinks, OpenCV's does not
    finest: float  # sides from twice this one on are pooled from P3
    level_epsilon: float  # added to side / canonical side
    least_log: float  # by which a box may shrink
    drops_empty: bool  # detections without area


_BLOCK = "backbone.bottom_up.res{stage}.{block}"
DETECTRON2 = Project(
    layers={
        "stem": "backbone.bottom_up.stem.conv1",
        "norm of stem": "backbone.bottom_up.stem.conv1.norm",
        "block": f"{_BLOCK}.conv{{number}}",
        "norm of block": f"{_BLOCK}.conv{{number}}.norm",
        "shortcut": f"{_BLOCK}.shortcut",
        "norm of shortcut": f"{_BLOCK}.shortcut.norm",
        "lateral": "backbone.fpn_lateral{stage}",
        "norm of lateral": "backbone.fpn_lateral{stage}.norm",
        "output": "backbone.fpn_output{stage}",
        "norm of output": "backbone.fpn_output{stage}.norm",
        "only rpn": "proposal_generator.rpn_head.conv",
        "rpn": "proposal_generator.rpn_head.conv.conv{index}",
        "objectness": "proposal_generator.rpn_head.objectness_logits",
        "anchor deltas": "proposal_generator.rpn_head.anchor_deltas",
        "box": "roi_heads.box_head.conv{number}",
        "norm of box": "roi_heads.box_head.conv{number}.norm",
        "hidden": "roi_heads.box_head.fc{number}",
        "classes": "roi_heads.box_predictor.cls_score",
        "deltas": "roi_heads.box_predictor.bbox_pred",
        "mask": "roi_heads.mask_head.mask_fcn{number}",
        "norm of mask": "roi_heads.mask_head.mask_fcn{number}.norm",
        "deconvolution": "roi_heads.mask_head.deconv",
        "masks": "roi_heads.mask_head.predictor",
    },
    colours="bgr",
    std=(1.0, 1.0, 1.0),
    strided=1,
    resize="Pillow",
    finest=56.0,  # 224 at level 4
    level_epsilon=1e-8 * 4,  # theirs is added to side / 224
    least_log=-math.inf,
    drops_empty=True,
)
DETECTRON2_RESNEXT = Project(**{**vars(DETECTRON2), "std": STD, "strided": 2})

_BLOCK = "backbone.layer{layer}.{block}"
_BOX, _MASK = "roi_head.bbox_head", "roi_head.mask_head"
MMDET = Project(
    layers={
        "stem": "backbone.conv1",
        "norm of stem": "backbone.bn1",
        "block": f"{_BLOCK}.conv{{number}}",
        "norm of block": f"{_BLOCK}.bn{{number}}",
        "shortcut": f"{_BLOCK}.downsample.0",
        "norm of shortcut": f"{_BLOCK}.downsample.1",
        "lateral": "neck.lateral_convs.{level}.conv",
        "norm of lateral": "neck.lateral_convs.{level}.bn",
        "output": "neck.fpn_convs.{level}.conv",
        "norm of output": "neck.fpn_convs.{level}.bn",
        "only rpn": "rpn_head.rpn_conv",
        "rpn": "rpn_head.rpn_conv.{index}.conv",
        "objectness": "rpn_head.rpn_cls",
        "anchor deltas": "rpn_head.rpn_reg",
        "box": f"{_BOX}.shared_convs.{{index}}.conv",
        "norm of box": f"{_BOX}.shared_convs.{{index}}.bn",
        "hidden": f"{_BOX}.shared_fcs.{{index}}",
        "classes": f"{_BOX}.fc_cls",
        "deltas": f"{_BOX}.fc_reg",
        "mask": f"{_MASK}.convs.{{index}}.conv",
        "norm of mask": f"{_MASK}.convs.{{index}}.bn",
        "deconvolution": f"{_MASK}.upsample",
        "masks": f"{_MASK}.conv_logits",
    },
    colours="rgb",
    std=STD,
    strided=2,
    resize="OpenCV",
    finest=56.0,  # finest_scale
    level_epsilon=1e-6,
    least_log=-CLAMP,  # `delta2bbox` cuts at both ends
    drops_empty=False,
)
MMDET_RESNEXT = Project(**{**vars(MMDET), "colours": "bgr"})  # the 32x8d, from Caffe2


# ── arithmetic that any such network has ──


def convolve(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float = 0.0, *, stride: int = 1, pad: int = 0, groups: int = 1
) -> np.ndarray:
    """(N, C, H, W) with a kernel (O, C / groups, h, w)."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = [
        np.tensordot(windows_of_group, kernel_of_group, axes=([1, 4, 5], [1, 2, 3]))  # (N, H, W, O / groups)
        for windows_of_group, kernel_of_group in zip(np.split(windows, groups, axis=1), np.split(kernel, groups))
    ]
    return np.moveaxis(np.concatenate(parts, axis=-1) + bias, -1, 1)


def max_pool(x: np.ndarray) -> np.ndarray:
    """3×3, stride 2, one pixel around."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def read_between(places: np.ndarray, length: int) -> np.ndarray:
    """(…, length): how much a value at each place takes of each of so many values, which stand at whole numbers."""
    return np.maximum(1 - np.abs(places[..., None] - np.arange(length)), 0)


def area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of one box with (N, 4) others: (N,)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = area(box) + area(others) - shared
    return np.divide(shared, union, out=np.zeros(len(others)), where=shared > 0)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Rows, best first, none of which overlaps a better one of them by more than the threshold."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if (iou(boxes[row], boxes[kept]) <= threshold).all():
            kept.append(int(row))
    return np.array(kept, int)


def clip(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return boxes.clip(0, [width, height, width, height])


def cell_anchors(size: float) -> np.ndarray:
    """Of one place: ratios height / width of a half, one and two, not rounded."""
    sides = [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for ratio in (0.5, 1, 2)]
    return np.array([[-width / 2, -height / 2, width / 2, height / 2] for width, height in sides])


def num_samples(start: float, stop: float, count: int) -> int:
    return math.ceil((stop - start) / count)


def bins(start: float, stop: float, count: int, length: int) -> np.ndarray:
    """RoIAlign along one axis of a map: (count, length), what each bin takes of each pixel.

    A bin has as many samples as feature pixels, rounded up. Pixels' centres lie at half a pixel; further than a pixel outside
    of the outermost ones there is nothing, and up to there the outermost ones go on.
    """
    number = num_samples(start, stop, count)
    if number == 0:
        return np.zeros((count, length))
    samples = (np.arange(number) + 0.5) / number
    places = start - 0.5 + (np.arange(count)[:, None] + samples) * (stop - start) / count
    inside = (places >= -1) & (places <= length)
    return (read_between(places.clip(0, length - 1), length) * inside[..., None]).mean(axis=1)


# ── the model ──


class Rcnn:
    """A model: `weights` by the names of a file. `finest` may be smaller than theirs, so that small images use all levels.

    Attributes:
        most_samples: that any bin had so far, along an axis.
    """

    most_samples = 0

    def __init__(self, project: Project, weights: Weights, *, short_side: int, long_side: int, finest: float | None = None):
        self.project = project
        self.weights = weights
        self.short_side = short_side
        self.long_side = long_side
        self.finest = project.finest if finest is None else finest

    def detect(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(H, W, 3) uint8, red first → boxes (N, 4), scores (N,), labels (N,), probabilities (N, H, W), best first."""
        resized = self.resize(image)
        size = resized.shape[:2]
        pyramid = self.pyramid(self.frame(resized))
        proposals = self.propose(pyramid, size)
        boxes, scores, labels = self.choose(proposals, *self.classify(pyramid, proposals), size)
        small = self.draw(pyramid, boxes)[np.arange(len(boxes)), labels]
        boxes = boxes * np.tile([image.shape[1] / size[1], image.shape[0] / size[0]], 2)
        if self.project.drops_empty:
            full = area(boxes) > 0
            boxes, scores, labels, small = boxes[full], scores[full], labels[full], small[full]
        pasted = np.array([paste(*pair, image.shape[:2]) for pair in zip(small, boxes)]).reshape(-1, *image.shape[:2])
        return {"boxes": boxes, "scores": scores, "labels": labels, "probabilities": pasted}

    def resize(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if self.project.resize == "OpenCV":
            scale = min(self.long_side / max(height, width), self.short_side / min(height, width))
            height, width = (int(side * scale + 0.5) for side in (height, width))
            return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        scale = self.short_side / min(height, width)
        sides = [self.short_side, scale * width] if height < width else [scale * height, self.short_side]
        scale = min(self.long_side / max(sides), 1)
        height, width = (int(side * scale + 0.5) for side in sides)
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def frame(self, image: np.ndarray) -> np.ndarray:
        """(1, 3, H, W), H and W the next multiples of 32, zeros on the right and below."""
        pixels = (image - np.array(MEAN)) / self.project.std
        if self.project.colours == "bgr":
            pixels = pixels[..., ::-1]
        height, width = image.shape[:2]
        return np.pad(pixels, ((0, -height % 32), (0, -width % 32), (0, 0))).transpose(2, 0, 1)[None]

    def pyramid(self, x: np.ndarray) -> list[np.ndarray]:
        """P2 … P6."""
        x = max_pool(relu(self.unit("stem", x, stride=2, pad=3)))
        stages = []
        for stage in (2, 3, 4, 5):
            block = 0
            while self.has("block", stage=stage, block=block, number=1):
                x = self.bottleneck(x, stage, block)
                block += 1
            stages.append(x)
        merged = [self.unit("lateral", x, stage=stage) for stage, x in enumerate(stages, start=2)]
        for finer in (2, 1, 0):
            merged[finer] = merged[finer] + merged[finer + 1].repeat(2, axis=2).repeat(2, axis=3)
        levels = [self.unit("output", x, stage=stage, pad=1) for stage, x in enumerate(merged, start=2)]
        return [*levels, levels[-1][:, :, ::2, ::2]]

    def bottleneck(self, x: np.ndarray, stage: int, block: int) -> np.ndarray:
        at = {"stage": stage, "block": block}
        stride = 2 if stage > 2 and block == 0 else 1
        strides = {self.project.strided: stride}
        groups = self.groups(**at)
        shortcut = self.unit("shortcut", x, stride=stride, **at) if self.has("shortcut", **at) else x
        x = relu(self.unit("block", x, number=1, stride=strides.get(1, 1), **at))
        x = relu(self.unit("block", x, number=2, stride=strides.get(2, 1), pad=1, groups=groups, **at))
        return relu(self.unit("block", x, number=3, **at) + shortcut)

    def groups(self, **at: int) -> int:
        """A grouped kernel takes fewer channels than the convolution before it gives."""
        given, taken = (self.weights[f"{self.name('block', number=n, **at)}.weight"] for n in (1, 2))
        return len(given) // taken.shape[1]

    def propose(self, pyramid: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
        """(N, 4): the best 1000 of the best 1000 of each level."""
        hidden = pyramid
        for index in range(2):
            if self.has("rpn", index=index):
                hidden = [relu(self.conv("rpn", x, pad=1, index=index)) for x in hidden]
        if self.has("only rpn"):
            hidden = [relu(self.conv("only rpn", x, pad=1)) for x in hidden]
        all_boxes, all_logits = [], []
        for level, (logits, deltas) in enumerate(
            zip(self.shared_conv("objectness", hidden), self.shared_conv("anchor deltas", hidden))
        ):
            height, width = logits.shape[2:]
            logits = logits[0].transpose(1, 2, 0).reshape(-1)  # rows, columns, anchors
            deltas = deltas[0].reshape(-1, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
            best = np.argsort(-logits, kind="stable")[:1000]
            boxes = clip(self.move(self.anchors(level, height, width)[best], deltas[best], (1, 1, 1, 1)), size)
            logits = logits[best]
            full = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            boxes, logits = boxes[full], logits[full]
            kept = nms(boxes, logits, 0.7)
            all_boxes.append(boxes[kept])
            all_logits.append(logits[kept])
        best = np.argsort(-np.concatenate(all_logits), kind="stable")[:1000]
        return np.concatenate(all_boxes)[best]

    def anchors(self, level: int, height: int, width: int) -> np.ndarray:
        """Of one level: rows, columns, anchors of a place; those of the first place are centred on 0, 0."""
        places = [[x, y, x, y] for y in range(height) for x in range(width)]
        cell = cell_anchors(8 * STRIDES[level])
        return (np.array(places)[:, None] * STRIDES[level] + cell).reshape(-1, 4)

    def move(self, boxes: np.ndarray, deltas: np.ndarray, weights: tuple[int, ...]) -> np.ndarray:
        deltas = deltas / weights
        size = boxes[:, 2:] - boxes[:, :2]
        centre = boxes[:, :2] + size / 2 + deltas[:, :2] * size
        size = size * np.exp(deltas[:, 2:].clip(self.project.least_log, CLAMP))
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1)

    def pool(self, pyramid: list[np.ndarray], boxes: np.ndarray, side: int) -> np.ndarray:
        """(N, C, side, side), each box from the level that fits its size; P6 is none of them."""
        pooled = []
        for box, level in zip(boxes, self.levels(boxes)):
            feature, (x1, y1, x2, y2) = pyramid[level][0], box / STRIDES[level]
            self.most_samples = max(self.most_samples, num_samples(y1, y2, side), num_samples(x1, x2, side))
            rows, columns = bins(y1, y2, side, feature.shape[1]), bins(x1, x2, side, feature.shape[2])
            pooled.append(rows @ feature @ columns.T)
        return np.array(pooled).reshape(-1, pyramid[0].shape[1], side, side)

    def levels(self, boxes: np.ndarray) -> np.ndarray:
        """(N,) 0 for P2 … 3 for P5."""
        return np.floor(np.log2(np.sqrt(area(boxes)) / self.finest + self.project.level_epsilon)).clip(0, 3).astype(int)

    def classify(self, pyramid: list[np.ndarray], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K + 1), the background last, and deltas (N, K, 4)."""
        x = self.pool(pyramid, boxes, 7)
        for index in range(4):
            if self.has("box", index=index):
                x = relu(self.unit("box", x, pad=1, index=index))
        x = x.reshape(len(x), -1)
        for index in range(2):
            if self.has("hidden", index=index):
                x = relu(self.dense("hidden", x, index=index))
        return softmax(self.dense("classes", x)), self.dense("deltas", x).reshape(len(x), -1, 4)

    def choose(
        self, proposals: np.ndarray, probabilities: np.ndarray, deltas: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, scores and labels of the best 100, every class by itself."""
        all_boxes, all_scores, all_labels = [], [], []
        for label in range(deltas.shape[1]):
            boxes = clip(self.move(proposals, deltas[:, label], (10, 10, 5, 5)), size)
            likely = probabilities[:, label] > 0.05
            boxes, scores = boxes[likely], probabilities[likely, label]
            kept = nms(boxes, scores, 0.5)
            all_boxes.append(boxes[kept])
            all_scores.append(scores[kept])
            all_labels.append(np.full(len(kept), label))
        boxes, scores, labels = (np.concatenate(values) for values in (all_boxes, all_scores, all_labels))
        best = np.argsort(-scores, kind="stable")[:100]
        return boxes[best], scores[best], labels[best]

    def draw(self, pyramid: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """Probabilities (N, K, 28, 28)."""
        x = self.pool(pyramid, boxes, 14)
        for index in range(4):
            x = relu(self.unit("mask", x, pad=1, index=index))
        name = self.name("deconvolution")
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]  # (C, O, 2, 2)
        x = np.einsum("ncij,coab->noiajb", x, kernel, optimize=True)
        count, channels, height, _, width, _ = x.shape
        x = relu(x.reshape(count, channels, 2 * height, 2 * width) + bias[:, None, None])
        return sigmoid(self.conv("masks", x))

    # ── layers ──

    def name(self, part: str, **at: int) -> str:
        at = {"number": at.get("index", 0) + 1, "level": at.get("stage", 0) - 2, "layer": at.get("stage", 0) - 1, **at}
        return self.project.layers[part].format(**at)

    def has(self, part: str, **at: int) -> bool:
        return f"{self.name(part, **at)}.weight" in self.weights

    def conv(self, part: str, x: np.ndarray, *, stride: int = 1, pad: int = 0, groups: int = 1, **at: int) -> np.ndarray:
        name = self.name(part, **at)
        bias = self.weights.get(f"{name}.bias", 0.0)  # none where a norm follows
        return convolve(x, self.weights[f"{name}.weight"], bias, stride=stride, pad=pad, groups=groups)

    def unit(self, part: str, x: np.ndarray, **options: int) -> np.ndarray:
        """A convolution and the norm behind it, where there is one."""
        x = self.conv(part, x, **options)
        at = {key: options[key] for key in ("stage", "block", "number", "index") if key in options}
        return self.norm(self.name(f"norm of {part}", **at), x) if self.has(f"norm of {part}", **at) else x

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        scale, shift, mean, variance = (
            self.weights[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + EPSILON) * scale + shift

    def shared_conv(self, part: str, levels: list[np.ndarray]) -> list[np.ndarray]:
        """One convolution on several levels."""
        return [self.conv(part, x) for x in levels]

    def dense(self, part: str, x: np.ndarray, **at: int) -> np.ndarray:
        name = self.name(part, **at)
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]


def paste(small: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(M, M) probabilities stretched over a box, read at every pixel's centre, zeros around them: (H, W)."""
    (left, top, right, bottom), cells = box, len(small)
    if not (right > left and bottom > top):
        return np.zeros(size)
    rows, columns = (
        read_between((np.arange(length) + 0.5 - start) / (stop - start) * cells - 0.5, cells)
        for length, start, stop in zip(size, (top, left), (bottom, right))
    )
    return rows @ small @ columns.T


# ── weights that find something ──


class _Calibrating(Rcnn):
    """Looks at one image, and gives norms its statistics and the last layers answers that are spread, layer by layer."""

    rng = np.random.default_rng(1)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        self.weights[f"{name}.running_mean"] = _float32(x.mean(axis=(0, 2, 3)))
        self.weights[f"{name}.running_var"] = _float32(x.var(axis=(0, 2, 3)) + 1e-2)
        return super().norm(name, x)

    def shared_conv(self, part: str, levels: list[np.ndarray]) -> list[np.ndarray]:
        self._whiten(part, np.concatenate([_rows(x) for x in levels]), {"objectness": 2.0, "anchor deltas": 0.3}[part])
        return super().shared_conv(part, levels)

    def conv(self, part: str, x: np.ndarray, **options: int) -> np.ndarray:
        if part == "masks":
            self._whiten(part, _rows(x), 3.0)
        return super().conv(part, x, **options)

    def dense(self, part: str, x: np.ndarray, **at: int) -> np.ndarray:
        if part != "hidden":
            self._whiten(part, x, {"classes": 2.0, "deltas": 1.0}[part])
        if part == "classes":
            self.weights[f"{self.name(part)}.bias"][-1] += 8.0  # most RoIs are background
        return super().dense(part, x, **at)

    def _whiten(self, part: str, rows: np.ndarray, spread: float) -> None:
        """A layer whose answers to these rows (N, C) have this spread around 0."""
        name = self.name(part)
        mean, shape = rows.mean(axis=0), self.weights[f"{name}.weight"].shape
        variances, directions = np.linalg.eigh(np.cov(rows.T))
        # Random directions are dominated by few; the faintest ones are left to themselves, for they are mostly rounding.
        kernel = self.rng.normal(size=(shape[0], rows.shape[1])) / np.sqrt(variances + 0.01 * variances.max()) @ directions.T
        kernel *= spread / ((rows - mean) @ kernel.T).std(axis=0)[:, None]
        self.weights[f"{name}.weight"] = _float32(kernel.reshape(shape))
        self.weights[f"{name}.bias"] = _float32(-kernel @ mean)


def calibrated(
    project: Project, shapes: Mapping[str, tuple[int, ...]], image: np.ndarray, *, seed: int = 0, **sides: Any
) -> Rcnn:
    """A model with random weights that finds dozens of things in this image, and in others like it.

    Args:
        shapes: of every tensor of the project's file.
        image: (H, W, 3) uint8.
        **sides: as of `Rcnn`.
    """
    model = _Calibrating(project, random_weights(shapes, seed), **sides)
    model.rng = np.random.default_rng(seed + 1)
    model.detect(image)
    return Rcnn(project, model.weights, **sides)


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Weights:
    """By the names of a file; counters are 7."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, shape in shapes.items():
        if not shape:
            weights[name] = np.array(7, np.int64)
        elif len(shape) > 1:
            weights[name] = _float32(rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape))
        else:
            is_norm = f"{name.rpartition('.')[0]}.running_var" in shapes
            # Norms that lift what the ReLUs see, and weak residual branches: else a random ResNet is chaotic, and what is
            # 1e-7 of rounding in the first layer is 1e-3 in the last.
            values = rng.uniform(0.6, 1.2, shape) if is_norm else rng.normal(0, 0.2, shape)
            weights[name] = _float32(values * (0.3 if name.endswith(("conv3.norm.weight", "bn3.weight")) else 1.0))
    return weights


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) → (N H W, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _float32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
