"""LiteRT, formerly TensorFlow Lite: telephones and small boards, and any processor through XNNPACK."""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.engines.engine import MAX_DESCRIPTION_BYTES, Engine

ENTRY = "maskrcnn.json"  # of the zip archive behind the model, where TensorFlow Lite keeps a model's associated files


class LiteRt(Engine):
    """A `.tflite` file.

    Raises:
        ImportError: LiteRT is not installed.
        ValueError: the file is damaged, or not a model of this package.
    """

    def __init__(self, path: str | Path) -> None:
        self._runtime = extras.load("ai_edge_litert.interpreter", extra="litert", why="This model needs LiteRT")
        self._path = Path(path)
        self.read_description(_read_description(self._path), self._path)
        self._of_thread = threading.local()
        self._of_thread.runner = self._make_runner()

    @staticmethod
    def holds(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8)[4:] == b"TFL3"  # the schema's file identifier

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        # An interpreter holds its own tensors: one for each thread, so that answers never mix. The file is mapped into memory,
        # so that they share it.
        if not hasattr(self._of_thread, "runner"):
            self._of_thread.runner = self._make_runner()
        found = self._of_thread.runner(images=images, sizes=sizes)
        return {name: found[name] for name in self.outputs}

    def _make_runner(self) -> Any:
        try:
            interpreter = self._runtime.Interpreter(str(self._path), num_threads=os.cpu_count())
            return interpreter.get_signature_runner("serving_default")
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self._path} is damaged: {' '.join(str(error).split()):.200}") from error


def _read_description(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(ENTRY).file_size > MAX_DESCRIPTION_BYTES:
                raise ValueError(f"{path} describes itself in over {MAX_DESCRIPTION_BYTES:,} bytes, which are not read.")
            return archive.read(ENTRY).decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, NotImplementedError, zlib.error):
        return ""
