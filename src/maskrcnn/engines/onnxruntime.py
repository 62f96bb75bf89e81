"""ONNX Runtime: any processor, and programs in C++, C#, Java and JavaScript beside Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskrcnn import extras
from maskrcnn.engines.engine import DESCRIPTION, Engine


class OnnxRuntime(Engine):
    """A file `*.onnx`. A session may be asked from any thread.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: the file is damaged, or not a model of this package.
    """

    def __init__(self, path: str | Path) -> None:
        onnxruntime = extras.load("onnxruntime", extra="onnxruntime", why="This model needs ONNX Runtime")
        path = Path(path)
        options = onnxruntime.SessionOptions()
        options.enable_mem_pattern = False  # it keeps a plan of memory for every shape that it has met
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no class of their own in common
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split()):.200}") from error
        self.read_description(self._session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, ""), path)

    @staticmethod
    def holds(path: Path) -> bool:
        return path.suffix == ".onnx"

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        found = self._session.run(list(self.outputs), {"images": images, "sizes": sizes})
        return dict(zip(self.outputs, found, strict=True))
