"""Names and shapes of torchvision's state dicts, and its names of COCO's classes: `torchvision_names.json` beside this file.

The tests read that file alone. To make it anew, in an environment with torch and torchvision (made with 2.15 and 0.29):

    python tests/golden/torchvision_names.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torchvision.models import detection, resnet50
from torchvision.ops import misc


def main() -> None:
    options = {"weights": None, "weights_backbone": None}
    with torch.device("meta"):
        v1 = detection.maskrcnn_resnet50_fpn(**options)
        models = {
            "v1": detection.MaskRCNN(  # as it is made for trained weights
                detection.backbone_utils._resnet_fpn_extractor(resnet50(norm_layer=misc.FrozenBatchNorm2d), 3), 91
            ),
            "v1 live": v1,
            "v2": detection.maskrcnn_resnet50_fpn_v2(**options),
            "resnet50": resnet50(),
            "keypoints": detection.KeypointRCNN(
                detection.backbone_utils._resnet_fpn_extractor(resnet50(norm_layer=misc.FrozenBatchNorm2d), 3), 2
            ),
        }
    named = {kind: {name: list(tensor.shape) for name, tensor in model.state_dict().items()} for kind, model in models.items()}
    # A line a tensor, so that changes can be read.
    lines = {
        kind: ",\n".join(f"  {json.dumps(name)}: {shape}" for name, shape in names.items()) for kind, names in named.items()
    }
    text = ",\n".join(f"{json.dumps(kind)}: {{\n{names}\n}}" for kind, names in lines.items())
    classes = json.dumps(detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
    Path(__file__).with_suffix(".json").write_text(f'{{\n"classes": {classes},\n{text}\n}}\n')


if __name__ == "__main__":
    main()
