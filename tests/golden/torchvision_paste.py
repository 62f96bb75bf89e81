"""Masks as torchvision pastes them, kept beside this file.

The tests read the arrays alone. To make them anew, in an environment with torch and torchvision (made with 2.15 and 0.29):

    python tests/golden/torchvision_paste.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

SIZE = (48, 60)


def main() -> None:
    rng = np.random.default_rng(2017)
    edges = [
        [10, 8, 40, 30],
        [10.5, 8.5, 40.5, 30.5],
        [0, 0, 60, 48],
        [0, 0, 13.7, 9.2],
        [47.3, 30.1, 60, 48],
        [-5.5, -3.2, 20.1, 12.9],
        [50, 40, 75, 66],
        [-20, -20, 90, 70],
        [20, 10, 20.4, 10.3],
        [31, 5, 31.6, 40],
        [3, 33, 55, 33.9],
        [0, 20, 0.9, 21],
    ]
    corner, side = rng.uniform(-4, 50, (36, 2)), rng.uniform(0.5, 40, (36, 2))
    boxes = np.concatenate([edges, np.concatenate([corner, corner + side], 1)]).astype("float32")
    blobs = torch.nn.functional.interpolate(torch.tensor(rng.random((len(boxes), 1, 5, 5))), size=28, mode="bicubic")
    small = blobs[:, 0].clamp(0, 1).numpy().astype("float16")
    small[::4] = rng.random((len(boxes[::4]), 28, 28))  # noise
    small[::7] = 1  # all of the box
    pasted = paste_masks_in_image(torch.tensor(small.astype("float32"))[:, None], torch.tensor(boxes), SIZE)[:, 0] > 0.5
    kept = {"boxes": boxes, "small": small, "pasted": np.packbits(pasted.numpy(), axis=-1)}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept, size=SIZE)


if __name__ == "__main__":
    main()
