"""PyTorch alone, of a program that torch.export wrote: no Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskrcnn import extras
from maskrcnn.engines import pt2
from maskrcnn.engines.engine import Engine


class TorchExport(Engine):
    """A file `*.pt2`. A program of PyTorch may be called from any thread; it uses as many as PyTorch is set to.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the file is damaged, not a model of this package, or holds more than a model of it does.
    """

    def __init__(self, path: str | Path) -> None:
        self._torch = extras.load("torch", extra="torch", why="This model needs PyTorch")
        path = Path(path)
        try:
            self.read_description(pt2.read_description(path), path)
            pt2.check(path)
            program = self._torch.export.load(path)
            self._program = program.module()
        except pt2.FileError as error:
            raise ValueError(f"{path} {error}") from error
        except (RuntimeError, AssertionError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split()):.200}") from error

    @staticmethod
    def holds(path: Path) -> bool:
        return path.suffix == ".pt2"

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        if any(side % 32 for side in images.shape[1:3]):
            height, width = images.shape[1:3]
            raise ValueError(f"A frame's height and width are multiples of 32; received {height}×{width}.")
        with self._torch.inference_mode():
            found = self._program(self._torch.tensor(images), self._torch.tensor(sizes))
        return {name: found[name].numpy() for name in self.outputs}
