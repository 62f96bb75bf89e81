"""What torchvision's deformable convolution answers, with gradients, held in `torchvision_deform_conv.npz` beside this file.

The tests read the arrays alone. To make them anew, in an environment with torch and torchvision (made with 2.15 and 0.29):

    python tests/golden/torchvision_deform_conv.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.ops import deform_conv2d


def main() -> None:
    rng = np.random.default_rng(2017)
    kept: dict[str, np.ndarray] = {}
    for name, stride, groups, modulated in (("plain", 1, 1, False), ("strided", 2, 1, True), ("grouped", 1, 2, True)):
        height, width = (-(-side // stride) for side in (6, 7))
        arrays = {
            "x": rng.normal(size=(2, 4, 6, 7)),
            "offsets": rng.normal(0, 2.5, (2, 18, height, width)),  # many beyond the border
            "kernel": rng.normal(size=(6, 4 // groups, 3, 3)),
            **({"factors": rng.uniform(0, 1, (2, 9, height, width))} if modulated else {}),
        }
        tensors = {key: torch.tensor(value.astype("float32"), requires_grad=True) for key, value in arrays.items()}
        x, offsets, kernel = (tensors[key] for key in ("x", "offsets", "kernel"))
        answer = deform_conv2d(x, offsets, kernel, stride=stride, padding=1, mask=tensors.get("factors"))
        weights = torch.tensor(rng.normal(size=answer.shape).astype("float32"))
        (answer * weights).sum().backward()
        for key, tensor in tensors.items():
            kept[f"{name}.{key}"], kept[f"{name}.{key}.gradient"] = tensor.detach().numpy(), tensor.grad.numpy()
        kept[f"{name}.answer"], kept[f"{name}.weights"] = answer.detach().numpy(), weights.numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


if __name__ == "__main__":
    main()
