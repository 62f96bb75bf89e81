"""One backend's answers to given weights and images. `tests/model/test_backends_agree.py` runs it once for every backend:

KERAS_BACKEND=jax python tests/agreement.py GIVEN.npz ANSWERS.npz
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensors
from small_network import make_batch, small_config, small_network

from maskrcnn.config import fields
from maskrcnn.model.mask_rcnn import LOSSES, Network
from maskrcnn.model.necks.fpn import LEVELS


def make_network() -> Network:
    """The real MobileNetV2, with small heads."""
    return Network(fields.replace(small_config(), backbone__norm="frozen", box_head__hidden=64, mask_head__channels=16))


def stages(network: Network, given: dict[str, Any]) -> dict[str, Any]:
    """What each stage says; the heads of given RoIs, so that they do not inherit what the stages before them chose."""
    features = network.fpn(network.backbone(network.normalise(given["images"], given["sizes"])))
    rpn = network.rpn(features)
    logits, deltas = network.box_head(features, given["rois"])
    masks = network.mask_head(features, given["rois"], given["labels"])
    detections = network.infer(given["images"], given["sizes"])
    return {
        **{f"P{level}": feature for level, feature in zip(LEVELS, features)},
        "RPN logits": keras.ops.concatenate(rpn.logits, axis=1),
        "RPN deltas": keras.ops.concatenate(rpn.deltas, axis=1),
        "class logits": logits,
        "box deltas": deltas,
        "mask logits": masks,
        **{f"detected {name}": value for name, value in detections._asdict().items()},
    }


def training_step() -> dict[str, np.ndarray]:
    """Losses of a small network, in which nothing is left to chance, and its weights after a step."""
    network = small_network()
    rng = np.random.default_rng(0)
    start = [rng.normal(0, 0.1, weight.shape).astype(np.float32) + 1.0 * (weight.ndim == 1) for weight in network.get_weights()]
    network.set_weights(start)
    network.compile(keras.optimizers.SGD(1.0))  # so large that a step is no rounding of a weight
    losses = network.train_on_batch(make_batch(), return_dict=True)
    moved = {
        f"step of {weight.path}": keras.ops.convert_to_numpy(weight) - before for weight, before in zip(network.weights, start)
    }
    return {**{name: np.array(losses[name]) for name in LOSSES}, **moved}


def main() -> None:
    given_path, answers_path = sys.argv[1:]
    with np.load(given_path) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    network = make_network()
    network.set_weights([given.pop(f"weight {place}") for place in range(len(network.weights))])
    answers = tensors.compute(lambda given: stages(network, given), given)
    np.savez(answers_path, **answers, **training_step())


if __name__ == "__main__":
    main()
