"""What torchvision's CPU kernels and functions answer, held in `torchvision_ops.npz` beside this file.

The tests read the arrays alone. To make them anew, in an environment with torch and torchvision (made with 2.15 and 0.29):

    python tests/golden/torchvision_ops.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
import torchvision
from torchvision.models.detection import _utils, anchor_utils
from torchvision.ops.poolers import LevelMapper, MultiScaleRoIAlign

DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(rng: np.random.Generator, count: int, side: float, least: float, most: float) -> np.ndarray:
    corner, size = rng.uniform(-0.1 * side, side, (count, 2)), rng.uniform(least, most, (count, 2))
    return np.concatenate([corner, corner + size], 1).astype("float32")


def main() -> None:
    rng = np.random.default_rng(2017)
    kept: dict[str, np.ndarray] = {}

    # RoIAlign on one map: inside, across every edge, beyond it, without width, without area, larger than the map.
    feature = rng.normal(size=(1, 9, 13, 2)).astype("float32")
    rois = np.array(
        [
            [8, 8, 40, 24],
            [-30, -20, 10, 12],
            [80, 50, 140, 100],
            [95, 60, 103.9, 71.9],
            [200, 10, 240, 30],
            [20, 20, 20, 44],
            [33, 17, 33, 17],
            [-50, -50, 200, 200],
            [3.3, 5.7, 91.2, 66.6],
            [40, 30, 44, 33],
        ],
        "float32",
    )
    kept |= {"roi_align_feature": feature, "roi_align_boxes": rois}
    channels_first = torch.tensor(feature).permute(0, 3, 1, 2)
    for aligned in (False, True):
        for ratio in (0, 1, 2, 3):
            pooled = torchvision.ops.roi_align(channels_first, [torch.tensor(rois)], 4, 1 / 8, ratio, aligned)
            kept[f"roi_align_{'aligned' if aligned else 'not_aligned'}_{ratio}"] = pooled.permute(0, 2, 3, 1).numpy()

    # RoIAlign over P2 … P5, as torchvision's models call it. A 256×320 frame.
    maps = {}
    for level in (2, 3, 4, 5):
        feature = rng.normal(size=(1, 256 >> level, 320 >> level, 1)).astype("float16")
        kept[f"pyramid_{level}"] = feature
        maps[str(level)] = torch.tensor(feature.astype("float32")).permute(0, 3, 1, 2)
    boxes = random_boxes(rng, 24, 200, 5, 90)
    boxes[:6, 2:] = boxes[:6, :2] + [[112, 112], [224, 224], [448, 448], [111.9, 111.9], [223.9, 223.9], [447.9, 447.9]]
    pooler = MultiScaleRoIAlign(["2", "3", "4", "5"], 3, 2)
    pooled = pooler(maps, [torch.tensor(boxes)], [(256, 320)])
    kept |= {"pyramid_boxes": boxes, "pyramid_pooled": pooled.permute(0, 2, 3, 1).numpy()}
    kept["pyramid_levels"] = LevelMapper(2, 5)([torch.tensor(boxes)]).numpy() + 2

    # NMS, plain and per class, on crowded boxes that come best first.
    crowded = random_boxes(rng, 80, 60, 10, 40)
    scores, labels = torch.linspace(1, 0, 80), torch.tensor(rng.integers(0, 3, 80))
    kept |= {"nms_boxes": crowded, "nms_labels": labels.numpy().astype("int32")}
    for threshold in (0.3, 0.5, 0.7):
        name = f"{threshold:.1f}".replace(".", "")
        kept[f"nms_{name}"] = torchvision.ops.nms(torch.tensor(crowded), scores, threshold).numpy()
        kept[f"nms_labels_{name}"] = torchvision.ops.batched_nms(torch.tensor(crowded), scores, labels, threshold).numpy()

    # Deltas there and back, with logarithms beyond the clamp.
    coder = _utils.BoxCoder(DELTA_WEIGHTS)
    reference, moved = random_boxes(rng, 12, 60, 4, 40), random_boxes(rng, 12, 60, 4, 40)
    deltas = (rng.normal(size=(12, 4)) * [10, 10, 5, 25]).astype("float32")
    kept |= {"coder_boxes": moved, "coder_reference": reference, "coder_deltas": deltas}
    kept["coder_encoded"] = coder.encode_single(torch.tensor(moved), torch.tensor(reference)).numpy()
    kept["coder_decoded"] = coder.decode_single(torch.tensor(deltas), torch.tensor(reference)).numpy()

    # Anchors. Ratios with whole sides only: torchvision rounds the others.
    generator = anchor_utils.AnchorGenerator(((32,),), ((0.25, 1.0, 4.0),))
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, 48, 80), [(48, 80)])
    kept["anchors"] = generator(images, [torch.zeros(1, 1, 3, 5)])[0].numpy()

    # Matching of those anchors: 0.7 and 0.3, the best anchors of every object positive.
    truth = np.array([[10, 10, 42, 40], [2, 3, 70, 20], [30, 30, 36, 38], [12, 12, 44, 42]], "float32")
    matches = _utils.Matcher(0.7, 0.3, True)(torchvision.ops.box_iou(torch.tensor(truth), torch.tensor(kept["anchors"])))
    kept |= {"matching_truth": truth, "matching_matches": matches.numpy()}  # row of the object, -1 negative, -2 between

    # Losses, summed by hand where torch has other normalisers.
    logits, classes = rng.normal(size=(2, 6, 4)).astype("float32") * 5, rng.integers(0, 4, (2, 6))
    target = rng.normal(size=(2, 6, 4)).astype("float32")
    kept |= {"loss_logits": logits, "loss_classes": classes.astype("int32"), "loss_target": target}
    one, other = torch.tensor(logits), torch.tensor(target)
    kept["loss_smooth_l1"] = functional.smooth_l1_loss(one, other, beta=1 / 9, reduction="none").numpy()
    kept["loss_binary"] = functional.binary_cross_entropy_with_logits(one, (other > 0).float(), reduction="none").numpy()
    kept["loss_class"] = functional.cross_entropy(one.reshape(-1, 4), torch.tensor(classes).reshape(-1)).numpy()

    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


if __name__ == "__main__":
    main()
