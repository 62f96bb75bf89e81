"""Whole runs on one device and on two, the second cut short and gone on with on one: `same_run.py OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
from same_training import simulate
from small_network import small_backbone

from maskrcnn.data.shapes import make_shapes
from maskrcnn.model import mask_rcnn
from maskrcnn.verbs.train import train

mask_rcnn.build_backbone = small_backbone  # in the processes that PyTorch starts, too
SMALL = {
    "backbone__norm": "live" if keras.backend.backend() == "tensorflow" else "frozen",  # which PyTorch does not synchronise
    "init": None,
    "image_size": 64,
    "epochs": 2,
    "augment": "none",
    "optimizer": "sgd",
    "fpn__channels": 8,
    "box_head__hidden": 16,
    "mask_head__channels": 8,
    "rpn__train_top_k": 50,
    "rpn__train_proposals": 50,
    "rpn__proposals": 50,
    "workers": 0,
    "no_report": True,
    "verbose": 0,
}


class StopAfterAnEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def main(out: Path) -> None:
    data = make_shapes(out, num_train=3, num_val=3, size=(64, 96), seed=3)
    train(*data, out / "one", **SMALL)
    try:
        train(*data, out / "two", devices=2, **SMALL, callbacks=[StopAfterAnEpoch()])
    except KeyboardInterrupt as stop:
        (out / "stopped.txt").write_text(stop.__notes__[-1])
    train(*data, out / "two", resume=True, **SMALL, callbacks=[])


if __name__ == "__main__":
    simulate(2)
    main(Path(sys.argv[1]))
