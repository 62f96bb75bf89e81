"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the checkout; tests that need it are skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of ImageNet weights beside the checkout."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights at {folder}")
    return folder
