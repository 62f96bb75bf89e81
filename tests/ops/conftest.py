"""What the tests of operations share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            # Keras's conversion of torch tensors, with NumPy 2.4.
            item.add_marker(
                pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
            )


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """torchvision's answers; `tests/golden/torchvision_ops.py` made them."""
    with np.load(FOLDER.parent / "golden" / "torchvision_ops.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}
