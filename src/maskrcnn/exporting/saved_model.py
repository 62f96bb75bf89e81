"""TensorFlow's SavedModel."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from maskrcnn.engines.engine import describe
from maskrcnn.engines.saved_model import ASSET
from maskrcnn.exporting.graph import inference_graph

BACKEND = "tensorflow"
SUFFIX = ""
PRECISIONS = ("float32",)


def write(model: Any, out: Path, precision: str) -> None:
    import tensorflow as tf

    holder = tf.Module()
    holder.infer = inference_graph(model)
    holder.weights = [weight.value for weight in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / ASSET
        description.write_text(describe(model.config, precision), "utf-8")
        holder.description = tf.saved_model.Asset(str(description))
        tf.saved_model.save(holder, str(out), signatures=holder.infer)
