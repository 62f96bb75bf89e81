"""TensorFlow's SavedModel, in plain TensorFlow: no Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskrcnn import extras
from maskrcnn.engines.engine import Engine

ASSET = "maskrcnn.json"


class SavedModel(Engine):
    """A folder with `saved_model.pb`. TensorFlow's functions may be called from any thread.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: the folder is damaged, or not a model of this package.
    """

    def __init__(self, path: str | Path) -> None:
        tensorflow = extras.load("tensorflow", extra="tensorflow-cpu", why="A SavedModel needs TensorFlow")
        path = Path(path)
        asset = path / "assets" / ASSET
        self.read_description(asset.read_text("utf-8") if asset.is_file() else "", path)
        try:
            self._whole = tensorflow.saved_model.load(str(path))  # the function below does not keep it alive
            self._function = self._whole.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tensorflow.errors.OpError) as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split()):.200}") from error
        self._constant = tensorflow.constant

    @staticmethod
    def holds(path: Path) -> bool:
        return (path / "saved_model.pb").is_file()

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        found = self._function(images=self._constant(images), sizes=self._constant(sizes))
        return {name: np.asarray(found[name]) for name in self.outputs}
