"""Open Images' tables of masks."""

from __future__ import annotations

import numpy as np
from drawn import MASKS, assert_scene, save, write_images

from maskrcnn.data.dataset import load_dataset


def test_masks_are_read_with_the_names_of_their_classes(tmp_path):
    rows = ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"]
    for k, (name, mask) in enumerate(MASKS.items()):
        scale = 2 if name == "tree" else 1  # masks come in other sizes than their images
        save(tmp_path / f"masks/a_m0{k}.png", np.kron(mask, np.ones((scale, scale))).astype(np.uint8) * 255)
        rows.append(f"a_m0{k}.png,a,/m/0{k},x,0,1,0,1,0.9,")
    rows.append("a_gone.png,a,/m/01,x,0,1,0,1,0.9,")
    write_images(tmp_path / "images", "a.jpg")
    (tmp_path / "train-masks.csv").write_text("\n".join(rows))
    (tmp_path / "class-descriptions.csv").write_text("\n".join(f"/m/0{k},{name}" for k, name in enumerate(MASKS)))
    data = load_dataset(tmp_path)
    assert_scene(data)
    assert [fault.kind for fault in data.faults] == ["missing mask"]
