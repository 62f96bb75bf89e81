"""What the tests of operations share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """torchvision's answers; `tests/golden/torchvision_ops.py` made them."""
    with np.load(FOLDER.parent / "golden" / "torchvision_ops.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}
