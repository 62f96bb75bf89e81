"""Libraries that only some of the work needs. Each belongs to an extra of the package, and its absence explains itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(module: str, *, extra: str, why: str) -> Any:
    """A module of an extra.

    Args:
        module: its name.
        extra: which of the package's extras brings it.
        why: what it is needed for, the start of a sentence: "DICOM files need pydicom".

    Raises:
        ImportError: it is not installed; one line that says what to do.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f'{why}, which is not installed: pip install "maskrcnn[{extra}]"') from error
