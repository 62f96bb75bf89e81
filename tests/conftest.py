"""What every test may ask for."""

import os
from pathlib import Path

import pytest
from small_coco import write_coco  # noqa: F401  (a fixture of several folders)

os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")  # a test rests on nothing that an earlier run left

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; tests that need it are skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of ImageNet weights beside the checkout."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights at {folder}")
    return folder


BACKEND_ROOMS = ("ops", "model")
QUICK_ROOMS = ("annotations", "config", "data", "doctor", "geometry", "images", "metrics", "results", "tracking")
NEED_GRAPHS = ("test_loader.py",)  # of the quick rooms: Keras fits and predicts in them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by folder: what depends on the backend, and what needs no graph of Keras and so is quick."""
    for item in items:
        room = item.path.relative_to(Path(__file__).parent).parts[0]
        if room in BACKEND_ROOMS:
            item.add_marker(pytest.mark.backend)
        if room in QUICK_ROOMS and item.path.name not in NEED_GRAPHS:
            item.add_marker(pytest.mark.quick)
