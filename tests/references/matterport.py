"""Slow, obvious twin of a whole model: matterport/Mask_RCNN's published arithmetic, from the image to the pasted masks.

NumPy, one image at a time, float64, in matterport's own terms: boxes y1 x1 y2 x2 as parts of the frame, whose last pixel
is 1. Weights go by the names of its files. `calibrated` makes random ones that find many things.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STAGES = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
# Small, so that a test takes seconds; a user gives such numbers in a subclass of `Config`.
NUMBERS: dict[str, Any] = {
    "BACKBONE": "resnet50",
    "NUM_CLASSES": 6,  # with the background
    "IMAGE_MIN_DIM": 128,
    "IMAGE_MAX_DIM": 192,
    "IMAGE_MIN_SCALE": 0,
    "MEAN_PIXEL": (123.7, 116.8, 103.9),
    "RPN_ANCHOR_SCALES": (18, 24, 60, 90, 130),
    "RPN_ANCHOR_RATIOS": (0.5, 1, 2),  # width / height
    "RPN_BBOX_STD_DEV": (0.1, 0.1, 0.2, 0.2),
    "BBOX_STD_DEV": (0.1, 0.1, 0.2, 0.2),
    "PRE_NMS_LIMIT": 300,
    "POST_NMS_ROIS_INFERENCE": 150,
    "RPN_NMS_THRESHOLD": 0.5,
    "DETECTION_MIN_CONFIDENCE": 0.4,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "DETECTION_MAX_INSTANCES": 60,
    "TOP_DOWN_PYRAMID_SIZE": 32,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 48,
    "POOL_SIZE": 7,
    "MASK_POOL_SIZE": 14,
}
RPN_CHANNELS, MASK_CHANNELS = 40, 24  # in the published files 512 and 256


# ── arithmetic that any such network has ──


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float, *, stride: int = 1, pad: int = 0) -> np.ndarray:
    """(N, H, W, C) with a kernel (h, w, C, O)."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2])) + bias


def max_pool_same(x: np.ndarray) -> np.ndarray:
    """3×3, stride 2, TensorFlow's "same": on even sides the windows begin at the first pixel and end after the last."""
    assert x.shape[1] % 2 == x.shape[2] % 2 == 0
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(4, 5))


def double(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, …) → (h, w, …): scikit-image's `resize(order=1, mode="constant", clip=True)`. Pixel centres, black around."""
    answer = np.asarray(image, np.float64)
    for axis, new in enumerate(shape):
        old = answer.shape[axis]
        centres = (np.arange(new) + 0.5) * old / new - 0.5
        weights = np.maximum(1 - np.abs(centres[:, None] - np.arange(old)), 0)  # (new, old)
        answer = np.moveaxis(np.tensordot(weights, answer, axes=(1, axis)), 0, axis)
    return answer.clip(image.min(), image.max())


def nms(boxes: np.ndarray, scores: np.ndarray, count: int, threshold: float) -> list[int]:
    """Rows of at most so many boxes, best first, none of which overlaps a better one by more than the threshold."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if len(kept) < count and (iou(boxes[row], boxes[kept]) <= threshold).all():
            kept.append(int(row))
    return kept


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of one box with (N, 4) others: (N,), 0 where nothing is shared."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(others)), where=shared > 0)


def crop_and_resize(feature: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """TensorFlow's: `side` samples from edge to edge of a box, the corners among them; 1 is the map's last pixel."""
    places = []
    for start, stop, length in zip(box[:2], box[2:], feature.shape):
        place = np.linspace(start, stop, side) * (length - 1)
        assert (place > -1e-6).all() and (place < length - 1 + 1e-6).all()  # boxes were clipped
        places.append(place.clip(0, length - 1))
    rows, columns = (
        np.maximum(1 - np.abs(place[:, None] - np.arange(length)), 0) for place, length in zip(places, feature.shape)
    )
    return np.einsum("ih,hwc,jw->ijc", rows, feature, columns, optimize=True)


def move(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) y1 x1 y2 x2 moved by dy dx log(dh) log(dw)."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:])
    return np.concatenate([centre - 0.5 * size, centre + 0.5 * size], axis=1)


def clip(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    low, high = np.tile(window[:2], 2), np.tile(window[2:], 2)
    return np.minimum(np.maximum(boxes, low), high)


def to_parts(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels, the ends behind the last one, → parts, the ends on the last one."""
    height, width = shape
    return (boxes - [0, 0, 1, 1]) / [height - 1, width - 1, height - 1, width - 1]


def to_pixels(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`to_parts` undone, on whole pixels."""
    height, width = shape
    return np.around(boxes * [height - 1, width - 1, height - 1, width - 1] + [0, 0, 1, 1]).astype(int)


# ── the model ──


class Matterport:
    """A model: `weights` by the names of a file ("conv1/kernel"), `numbers` by those of `Config`."""

    def __init__(self, weights: dict[str, np.ndarray], numbers: dict[str, Any] | None = None):
        self.weights = weights
        self.numbers = {**NUMBERS, **(numbers or {})}

    def detect(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(H, W, 3) uint8 → rois (N, 4) y1 x1 y2 x2 whole pixels, class_ids (N,) from 1, scores (N,), masks (H, W, N) bool."""
        frame, window = self.mold(image)
        features = self.pyramid((frame.astype(np.float64) - self.numbers["MEAN_PIXEL"])[None])
        rois = self.propose(features, frame.shape[:2])
        boxes, class_ids, scores = self.refine(rois, *self.classify(features, rois, frame.shape[:2]), window)
        masks = self.draw(features, boxes, frame.shape[:2])[np.arange(len(boxes)), :, :, class_ids]
        return self.unmold(boxes, class_ids, scores, masks, window, image.shape[:2])

    def mold(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image in the middle of a black square, and where it lies there, in parts."""
        height, width = image.shape[:2]
        side = self.numbers["IMAGE_MAX_DIM"]
        scale = max(1, self.numbers["IMAGE_MIN_DIM"] / min(height, width), self.numbers["IMAGE_MIN_SCALE"])
        if round(max(height, width) * scale) > side:
            scale = side / max(height, width)
        if scale != 1:
            image = resize(image, (round(height * scale), round(width * scale))).astype(np.uint8)
        height, width = image.shape[:2]
        top, left = (side - height) // 2, (side - width) // 2
        frame = np.zeros((side, side, 3), np.uint8)
        frame[top : top + height, left : left + width] = image
        return frame, to_parts(np.array([top, left, top + height, left + width]), (side, side))

    def pyramid(self, x: np.ndarray) -> list[np.ndarray]:
        """ResNet with biases, the stride in the first 1×1, and the feature pyramid: P2 … P6."""
        x = np.maximum(self.norm("bn_conv1", self.conv("conv1", x, stride=2, pad=3)), 0)
        x = max_pool_same(x)
        stages = []
        for stage, num_blocks in enumerate(STAGES[self.numbers["BACKBONE"]], start=2):
            for block in range(num_blocks):
                x = self.bottleneck(f"{stage}{chr(ord('a') + block)}", x, stride=2 if stage > 2 and block == 0 else 1)
            stages.append(x)
        merged = self.conv("fpn_c5p5", stages[3])
        levels = [merged]
        for level in (4, 3, 2):
            merged = double(merged) + self.conv(f"fpn_c{level}p{level}", stages[level - 2])
            levels.insert(0, merged)
        levels = [self.conv(f"fpn_p{level}", x, pad=1) for level, x in enumerate(levels, start=2)]
        return [*levels, levels[-1][:, ::2, ::2]]

    def bottleneck(self, name: str, x: np.ndarray, *, stride: int) -> np.ndarray:
        shortcut = x
        if f"res{name}_branch1/kernel" in self.weights:
            shortcut = self.norm(f"bn{name}_branch1", self.conv(f"res{name}_branch1", x, stride=stride))
        x = np.maximum(self.norm(f"bn{name}_branch2a", self.conv(f"res{name}_branch2a", x, stride=stride)), 0)
        x = np.maximum(self.norm(f"bn{name}_branch2b", self.conv(f"res{name}_branch2b", x, pad=1)), 0)
        x = self.norm(f"bn{name}_branch2c", self.conv(f"res{name}_branch2c", x))
        return np.maximum(x + shortcut, 0)

    def propose(self, features: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
        """(N, 4) parts: the best boxes of all levels together."""
        shared = [np.maximum(self.conv("rpn_conv_shared", feature, pad=1), 0) for feature in features]
        logits, deltas = (self.shared_conv(name, shared) for name in ("rpn_class_raw", "rpn_bbox_pred"))
        scores = softmax(np.concatenate([level.reshape(-1, 2) for level in logits]))[:, 1]
        deltas = np.concatenate([level.reshape(-1, 4) for level in deltas]) * self.numbers["RPN_BBOX_STD_DEV"]
        anchors = to_parts(np.concatenate([self.anchors(level, x.shape[1:3]) for level, x in enumerate(features)]), shape)
        best = np.argsort(-scores, kind="stable")[: self.numbers["PRE_NMS_LIMIT"]]
        boxes = clip(move(anchors[best], deltas[best]), np.array([0, 0, 1, 1]))
        count = self.numbers["POST_NMS_ROIS_INFERENCE"]
        return boxes[nms(boxes, scores[best], count, self.numbers["RPN_NMS_THRESHOLD"])]

    def anchors(self, level: int, shape: tuple[int, int]) -> np.ndarray:
        """Of one level, in pixels: rows, columns, ratios; centred on the first pixel of each place."""
        scale, stride = self.numbers["RPN_ANCHOR_SCALES"][level], 4 * 2**level
        boxes = []
        for row in range(shape[0]):
            for column in range(shape[1]):
                for ratio in self.numbers["RPN_ANCHOR_RATIOS"]:
                    half = np.array([scale / np.sqrt(ratio), scale * np.sqrt(ratio)]) / 2
                    centre = np.array([row, column]) * stride
                    boxes.append([*(centre - half), *(centre + half)])
        return np.array(boxes)

    def classify(self, features: list[np.ndarray], rois: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K + 1) and deltas (N, K + 1, 4)."""
        x = self.pool(features, rois, self.numbers["POOL_SIZE"], shape)
        x = np.maximum(self.norm("mrcnn_class_bn1", self.conv("mrcnn_class_conv1", x)), 0)
        x = np.maximum(self.norm("mrcnn_class_bn2", self.conv("mrcnn_class_conv2", x)), 0)[:, 0, 0]
        deltas = self.dense("mrcnn_bbox_fc", x).reshape(len(rois), -1, 4) * self.numbers["BBOX_STD_DEV"]
        return softmax(self.dense("mrcnn_class_logits", x)), deltas

    def pool(self, features: list[np.ndarray], rois: np.ndarray, side: int, shape: tuple[int, int]) -> np.ndarray:
        """(N, side, side, C), each from the level that fits its size."""
        crops = []
        for roi in rois:
            height, width = roi[2:] - roi[:2]
            level = 4 + int(np.rint(np.log2(np.sqrt(height * width) / (224 / np.sqrt(shape[0] * shape[1])) + 1e-30)))
            crops.append(crop_and_resize(features[min(5, max(2, level)) - 2][0], roi, side))
        return np.array(crops).reshape(len(rois), side, side, features[0].shape[-1])

    def refine(
        self, rois: np.ndarray, probabilities: np.ndarray, deltas: np.ndarray, window: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes in parts, classes and scores of the detections, best first."""
        class_ids = probabilities.argmax(axis=1)
        rows = np.arange(len(rois))
        scores = probabilities[rows, class_ids]
        boxes = clip(move(rois, deltas[rows, class_ids]), window)
        wanted = (class_ids > 0) & (scores >= self.numbers["DETECTION_MIN_CONFIDENCE"])
        kept: list[int] = []
        for class_id in np.unique(class_ids[wanted]):
            mine = np.flatnonzero(wanted & (class_ids == class_id))
            count, threshold = self.numbers["DETECTION_MAX_INSTANCES"], self.numbers["DETECTION_NMS_THRESHOLD"]
            kept += [mine[row] for row in nms(boxes[mine], scores[mine], count, threshold)]
        kept = sorted(kept, key=lambda row: -scores[row])[: self.numbers["DETECTION_MAX_INSTANCES"]]
        return boxes[kept], class_ids[kept], scores[kept]

    def draw(self, features: list[np.ndarray], boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Masks (N, 2 S, 2 S, K + 1)."""
        x = self.pool(features, boxes, self.numbers["MASK_POOL_SIZE"], shape)
        for number in range(1, 5):
            x = np.maximum(self.norm(f"mrcnn_mask_bn{number}", self.conv(f"mrcnn_mask_conv{number}", x, pad=1)), 0)
        kernel = self.weights["mrcnn_mask_deconv/kernel"]  # (2, 2, O, C)
        x = np.einsum("nijc,aboc->niajbo", x, kernel, optimize=True)
        count, height, _, width, _, channels = x.shape
        x = np.maximum(x.reshape(count, 2 * height, 2 * width, channels) + self.weights["mrcnn_mask_deconv/bias"], 0)
        return sigmoid(self.conv("mrcnn_mask", x))

    def unmold(
        self,
        boxes: np.ndarray,
        class_ids: np.ndarray,
        scores: np.ndarray,
        masks: np.ndarray,
        window: np.ndarray,
        shape: tuple[int, int],
    ) -> dict[str, np.ndarray]:
        """In pixels of the original image."""
        boxes = (boxes - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)
        boxes = to_pixels(boxes.reshape(-1, 4), shape)
        large = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, class_ids, scores, masks = boxes[large], class_ids[large], scores[large], masks[large]
        pasted = np.zeros((*shape, len(boxes)), bool)
        for row, ((y1, x1, y2, x2), mask) in enumerate(zip(boxes, masks)):
            pasted[y1:y2, x1:x2, row] = resize(mask, (y2 - y1, x2 - x1)) >= 0.5
        return {"rois": boxes, "class_ids": class_ids, "scores": scores, "masks": pasted}

    # ── layers ──

    def conv(self, name: str, x: np.ndarray, *, stride: int = 1, pad: int = 0) -> np.ndarray:
        bias = self.weights.get(f"{name}/bias", 0.0)  # early files have none before a norm
        return convolve(x, self.weights[f"{name}/kernel"], bias, stride=stride, pad=pad)

    def shared_conv(self, name: str, levels: list[np.ndarray]) -> list[np.ndarray]:
        """One 1×1 convolution on several levels."""
        return [self.conv(name, x) for x in levels]

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        gamma, beta, mean, variance = (
            self.weights[f"{name}/{kind}"] for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


# ── weights that find something ──


class _Calibrating(Matterport):
    """Looks at one image, and gives norms its statistics and the last layers answers that are spread, layer by layer."""

    def __init__(self, weights: dict[str, np.ndarray], numbers: dict[str, Any]):
        super().__init__(weights, numbers)
        self.rng = np.random.default_rng(1)

    def mold(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frame, self.window = super().mold(image)
        return frame, self.window

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        axes = tuple(range(x.ndim - 1))
        self.weights[f"{name}/moving_mean"] = _float32(x.mean(axes))
        self.weights[f"{name}/moving_variance"] = _float32(x.var(axes) + 1e-2)
        return super().norm(name, x)

    def shared_conv(self, name: str, levels: list[np.ndarray]) -> list[np.ndarray]:
        rows = np.concatenate([x.reshape(-1, x.shape[-1]) for x in levels])
        self._whiten(name, rows, 1.0)
        if name == "rpn_class_raw":  # nothing is proposed in the black around the image, where all places look alike
            inside = np.concatenate([self._in_image(x.shape[1:3]) for x in levels])
            apart = rows[inside].mean(axis=0) - rows[~inside].mean(axis=0) if not inside.all() else np.zeros(rows.shape[1])
            apart *= 8.0 / max(apart @ apart, 1e-6)
            self.weights[f"{name}/kernel"][0, 0, :, 1::2] += _float32(apart)[:, None]
        return super().shared_conv(name, levels)

    def _in_image(self, shape: tuple[int, int]) -> np.ndarray:
        """Which places of a map (H, W) lie on the image, flat."""
        y, x = (np.arange(side) / max(side - 1, 1) for side in shape)
        y1, x1, y2, x2 = self.window
        return (((y1 <= y) & (y <= y2))[:, None] & ((x1 <= x) & (x <= x2))).ravel()

    def conv(self, name: str, x: np.ndarray, **options: int) -> np.ndarray:
        if name == "mrcnn_mask":
            self._whiten(name, x.reshape(-1, x.shape[-1]), 3.0)
        return super().conv(name, x, **options)

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        if name == "mrcnn_class_logits":
            self._whiten(name, x, 1.2)
            self.weights[f"{name}/bias"][0] += 0.3  # most RoIs are background
        else:
            self._whiten(name, x, 1.0)
        return super().dense(name, x)

    def _whiten(self, name: str, rows: np.ndarray, spread: float) -> None:
        """A layer whose answers to these rows (N, C) have this spread around 0."""
        mean, shape = rows.mean(axis=0), self.weights[f"{name}/kernel"].shape
        kernel = self.rng.normal(size=(rows.shape[1], shape[-1]))
        kernel *= spread / ((rows - mean) @ kernel).std(axis=0)
        self.weights[f"{name}/kernel"] = _float32(kernel.reshape(shape))
        self.weights[f"{name}/bias"] = _float32(-mean @ kernel)


def calibrated(image: np.ndarray, numbers: dict[str, Any] | None = None, *, biases: bool = True) -> Matterport:
    """A model with random weights that finds dozens of things in this image, and in others like it.

    Args:
        image: (H, W, 3) uint8.
        numbers: that differ from `NUMBERS`.
        biases: of the convolutions before a norm; the project's first files have none.
    """
    numbers = {**NUMBERS, **(numbers or {})}
    model = _Calibrating(random_weights(numbers, biases=biases), numbers)
    model.detect(image)
    return Matterport(model.weights, numbers)


def random_weights(numbers: dict[str, Any], *, biases: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of a file, in the order and under the names of its layers."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def conv(name: str, *shape: int, bias: bool = True, transposed: bool = False) -> None:
        fan_in = np.prod(shape[:-1]) if not transposed else shape[-1]
        weights[f"{name}/kernel"] = _float32(rng.normal(0, np.sqrt(2 / fan_in), shape))
        if bias:
            weights[f"{name}/bias"] = _float32(rng.normal(0, 0.3, shape[-2] if transposed else shape[-1]))

    def conv_norm(name: str, norm: str, *shape: int, scale: float = 1.0) -> None:
        conv(name, *shape, bias=biases)
        for kind, values in (
            ("gamma", scale * rng.uniform(0.6, 1.2, shape[-1])),
            ("beta", rng.normal(0, 0.3, shape[-1])),
            ("moving_mean", rng.normal(0, 1, shape[-1])),
            ("moving_variance", rng.uniform(0.5, 2, shape[-1])),
        ):
            weights[f"{norm}/{kind}"] = _float32(values)

    conv_norm("conv1", "bn_conv1", 7, 7, 3, 64)
    width = 64
    for stage, num_blocks in enumerate(STAGES[numbers["BACKBONE"]], start=2):
        inner = 64 * 2 ** (stage - 2)
        for block in range(num_blocks):
            name = f"{stage}{chr(ord('a') + block)}_branch"
            conv_norm(f"res{name}2a", f"bn{name}2a", 1, 1, width, inner)
            conv_norm(f"res{name}2b", f"bn{name}2b", 3, 3, inner, inner)
            conv_norm(f"res{name}2c", f"bn{name}2c", 1, 1, inner, 4 * inner, scale=0.3)  # rounding stays small
            if block == 0:
                conv_norm(f"res{name}1", f"bn{name}1", 1, 1, width, 4 * inner)
            width = 4 * inner
    pyramid, hidden, classes = (
        numbers[name] for name in ("TOP_DOWN_PYRAMID_SIZE", "FPN_CLASSIF_FC_LAYERS_SIZE", "NUM_CLASSES")
    )
    for level in (5, 4, 3, 2):
        conv(f"fpn_c{level}p{level}", 1, 1, 256 * 2 ** (level - 2), pyramid)
    for level in (5, 2, 3, 4):
        conv(f"fpn_p{level}", 3, 3, pyramid, pyramid)
    num_anchors = len(numbers["RPN_ANCHOR_RATIOS"])
    conv("rpn_conv_shared", 3, 3, pyramid, RPN_CHANNELS)
    conv("rpn_class_raw", 1, 1, RPN_CHANNELS, 2 * num_anchors)
    conv("rpn_bbox_pred", 1, 1, RPN_CHANNELS, 4 * num_anchors)
    for number in range(1, 5):
        channels = pyramid if number == 1 else MASK_CHANNELS
        conv_norm(f"mrcnn_mask_conv{number}", f"mrcnn_mask_bn{number}", 3, 3, channels, MASK_CHANNELS)
    conv_norm("mrcnn_class_conv1", "mrcnn_class_bn1", numbers["POOL_SIZE"], numbers["POOL_SIZE"], pyramid, hidden)
    conv_norm("mrcnn_class_conv2", "mrcnn_class_bn2", 1, 1, hidden, hidden)
    conv("mrcnn_mask_deconv", 2, 2, MASK_CHANNELS, MASK_CHANNELS, transposed=True)
    conv("mrcnn_class_logits", hidden, classes)
    conv("mrcnn_bbox_fc", hidden, 4 * classes)
    conv("mrcnn_mask", 1, 1, MASK_CHANNELS, classes)
    return weights


def _float32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
