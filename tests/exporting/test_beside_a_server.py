"""Exporting replaces nothing: a model that answers meanwhile, in another thread, answers as before."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest
from exports import random_model
from small_network import images_of, make_batch

from maskrcnn import engines
from maskrcnn.structures import PaddedDetections
from maskrcnn.verbs import export

pytestmark = [pytest.mark.backend, pytest.mark.slow]
# Of each backend a format that is written with kernels of its own.
FORMATS = {"tensorflow": ["onnx", "openvino", "litert"], "torch": ["torch"], "jax": []}
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert", "torch": "torch"}


@pytest.mark.parametrize("name", FORMATS[keras.backend.backend()])
def test_a_model_answers_as_before_while_it_is_exported(name, tmp_path):
    pytest.importorskip(RUNTIMES[name], reason=f"what writes {name} is not installed")
    model, batch = random_model(), images_of(make_batch((3,)))
    model.kernels = model.kernels._replace()  # one of its own: shared ones would be seen by identity alone
    before = PaddedDetections(*map(np.asarray, model.predict_on_batch(batch)))
    writer, faults = export.WRITERS[name], []

    def write() -> None:
        try:
            writer.write(model, tmp_path / f"model{writer.SUFFIX}", "float32")
        except Exception as error:
            faults.append(error)

    thread, answers = threading.Thread(target=write), []
    thread.start()
    while thread.is_alive():
        answers.append(
            PaddedDetections(*map(keras.ops.convert_to_numpy, model.infer(batch["images"], batch["sizes"])))
        )  # traced anew each time
    thread.join()
    assert not faults
    assert len(answers) > 1
    for answer in answers:
        np.testing.assert_allclose(answer.boxes, before.boxes, atol=1e-3)
        np.testing.assert_allclose(answer.masks, before.masks, atol=1e-4)
    exported = engines.load(tmp_path / f"model{writer.SUFFIX}").predict_on_batch(batch)
    np.testing.assert_allclose(np.sort(exported.scores), np.sort(before.scores), atol=1e-4)
