"""Whole runs on one device and on two, the second cut short and gone on with on one: `same_run.py OUT`.

On PyTorch the second run's other process is killed in its second epoch; elsewhere the run is stopped there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import keras
from same_training import simulate
from small_network import small_backbone

from maskrcnn.data.shapes import make_shapes
from maskrcnn.distributed.meeting import LostProcessError
from maskrcnn.model import mask_rcnn
from maskrcnn.training.callbacks import HelpScoring
from maskrcnn.verbs import train as verb
from maskrcnn.verbs.train import train

mask_rcnn.build_backbone = small_backbone  # in the processes that PyTorch starts, too
SMALL = {
    "backbone__norm": "live",
    "fpn__norm": "live",
    "init": None,
    "image_size": 64,
    "epochs": 2,
    "augment": "none",
    "optimizer": "sgd",
    "ema": 0.5,
    "class_weights": "balanced",
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


class IsKilled(HelpScoring):
    """In a process that is not the first."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def leave_empty(file: Path, image_id: int) -> None:
    """Takes an image's objects away: one device has some then, and one has none."""
    content = json.loads(file.read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] != image_id]
    file.write_text(json.dumps(content))


def main(out: Path) -> None:
    data = make_shapes(out, num_train=3, num_val=3, size=(64, 96), seed=3)
    leave_empty(data[0], image_id=1)
    train(*data, out / "one", **SMALL)
    stopping = [] if keras.backend.backend() == "torch" else [StopAfterAnEpoch()]
    try:
        train(*data, out / "two", devices=2, **SMALL, callbacks=stopping)
    except KeyboardInterrupt as stop:
        (out / "stopped.txt").write_text(stop.__notes__[-1])
    except LostProcessError as lost:
        (out / "stopped.txt").write_text(str(lost))
    train(*data, out / "two", resume=True, **SMALL, callbacks=[])


if __name__ == "__mp_main__":  # a process that the first one started
    verb.HelpScoring = IsKilled
if __name__ == "__main__":
    simulate(2)
    main(Path(sys.argv[1]))
