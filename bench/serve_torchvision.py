"""torchvision's Mask R-CNN behind this package's server; `bench/serve.py --peer-python PYTHON` starts it.

PYTHON has torch and torchvision. FastAPI and whatever else the server needs are found in the folder `--packages`, of a Python
of the same version. The masks stay small, as those of this package: torchvision's own pasting, object by object, is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from reference import build

MASK_SIDE = 28


def main() -> None:
    parser = argparse.ArgumentParser(description="torchvision behind this package's server.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the model's numbers, as JSON")
    parser.add_argument("--packages", required=True, help="a site-packages folder with FastAPI")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=4)
    given = parser.parse_args()
    sys.path.append(given.packages)  # behind this Python's own
    from maskrcnn.config.model import ModelConfig, from_dict
    from maskrcnn.serving.app import create_app
    from maskrcnn.serving.running import listen, run
    from maskrcnn.serving.settings import ServerSettings
    from maskrcnn.structures import PaddedDetections

    class Torchvision:
        """A detector by contract."""

        def __init__(self, weights: Path, config: ModelConfig) -> None:
            self.config = config
            self._model = build("v1")
            self._model.load_state_dict(torch.load(weights, weights_only=True))
            transform = self._model.transform
            transform.min_size, transform.max_size = (config.image.short_side,), config.image.long_side

        @torch.inference_mode()
        def predict_on_batch(self, batch: dict[str, np.ndarray]) -> PaddedDetections:
            rows, count = len(batch["images"]), self.config.detect.max_detections
            shapes = {"boxes": (4,), "scores": (), "labels": (), "masks": (MASK_SIDE, MASK_SIDE)}
            found = {name: np.zeros((rows, count, *shape), np.float32) for name, shape in shapes.items()}
            valid = np.zeros((rows, count), bool)
            real = [row for row in range(rows) if batch["sizes"][row].min() > 1]  # the queue fills batches up
            if real:
                for row, answer in zip(real, self._detect(batch, real), strict=True):
                    valid[row, : len(answer["scores"])] = True
                    for name, value in answer.items():
                        found[name][row, : len(value)] = value.numpy()
            labels = np.maximum(found["labels"].astype(np.int32) - 1, 0)  # 0 is torchvision's background
            return PaddedDetections(found["boxes"], found["scores"], labels, found["masks"], valid)

        def _detect(self, batch: dict[str, np.ndarray], rows: list[int]) -> list[dict[str, torch.Tensor]]:
            sizes = [batch["sizes"][row].tolist() for row in rows]
            pixels = [
                torch.from_numpy(batch["images"][row][:height, :width].copy()) for row, (height, width) in zip(rows, sizes)
            ]
            images, _ = self._model.transform([image.permute(2, 0, 1) / 255 for image in pixels])
            features = self._model.backbone(images.tensors)
            proposals, _ = self._model.rpn(images, features)
            answers, _ = self._model.roi_heads(features, proposals, images.image_sizes)
            for answer, (height, width), resized in zip(answers, sizes, images.image_sizes):
                answer["boxes"] *= torch.tensor([width / resized[1], height / resized[0]] * 2)
                answer["masks"] = answer["masks"][:, 0]
            return answers

    config = from_dict(json.loads(given.config.read_text()))
    settings = ServerSettings(model_name="torchvision", batch_size=given.batch_size)
    run(create_app(Torchvision(given.weights, config), settings), listen("127.0.0.1", given.port))


if __name__ == "__main__":
    main()
