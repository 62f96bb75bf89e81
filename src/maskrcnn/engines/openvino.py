"""OpenVINO: Intel's and ARM's processors, and Intel's graphics."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from maskrcnn import extras
from maskrcnn.engines.engine import DESCRIPTION, Engine

# In what a model of each precision computes what is not marked in it to stay in float32. Left to itself OpenVINO takes bfloat16
# wherever the processor can.
COMPUTES_IN = {"float32": "f32", "float16": "f32", "bfloat16": "bf16", "int8": "bf16"}


class OpenVino(Engine):
    """A folder with `model.xml` and `model.bin`, or the `.xml` itself.

    Raises:
        ImportError: OpenVINO is not installed.
        ValueError: the file is damaged, or not a model of this package.
    """

    def __init__(self, path: str | Path) -> None:
        openvino = extras.load("openvino", extra="openvino", why="This model needs OpenVINO")
        path = Path(path)
        file = path / "model.xml" if path.is_dir() else path
        core = openvino.Core()
        try:
            model = core.read_model(file)
            description = model.get_rt_info([DESCRIPTION]).value if DESCRIPTION in model.rt_info else ""
        except RuntimeError as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split()):.200}") from error
        self.read_description(description, path)
        number = COMPUTES_IN.get(self.precision, "f32")
        if number.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            number = "f32"
        self._model = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": number})
        self._of_thread = threading.local()

    @staticmethod
    def holds(path: Path) -> bool:
        return path.suffix == ".xml" or (path / "model.xml").is_file()

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        # A request holds its own tensors: one for each thread, so that answers never mix. What it gives out is overwritten by
        # the next call, so it is copied.
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._model.create_infer_request()
        request = self._of_thread.request
        request.infer({"images": images, "sizes": sizes})
        return {name: np.array(request.get_tensor(name).data) for name in self.outputs}
