"""Where torchvision's answers come from, and where the worst deviations go.

PARITY_PYTHON: a Python that has torchvision; by default the one that runs the tests. scripts/parity makes one.
PARITY_FOLDER: where torchvision's answers are kept for the next backend and the next run; by default for this run only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest
from parity import images

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REFERENCE = Path(__file__).with_name("reference.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.parity)


@pytest.fixture(scope="session")
def shared_data_or_none() -> Path | None:
    return SHARED_DATA if SHARED_DATA.is_dir() else None


@pytest.fixture(scope="session")
def ask_torchvision() -> Callable[..., None]:
    """Runs `reference.py` with these arguments; skips where there is no torchvision."""
    python = os.environ.get("PARITY_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode:
        pytest.skip(f"{python} has no torchvision; scripts/parity makes an environment that has it")

    def ask(*arguments: str | Path) -> None:
        subprocess.run([python, REFERENCE, *arguments], check=True)

    return ask


@pytest.fixture(scope="session")
def reference(ask_torchvision, shared_data_or_none, tmp_path_factory) -> Path:
    """The folder with torchvision's weights and answers."""
    folder = Path(os.environ.get("PARITY_FOLDER") or tmp_path_factory.mktemp("parity") / "torchvision")
    if not (folder / "done").exists():
        images.write(folder, shared_data_or_none)
        ask_torchvision("answers", folder)
        (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def worst(reference) -> Iterator[Callable[[str, float, str], float]]:
    """Notes a stage's deviation and hands it back; the worst of every stage are left in the folder, a file a backend."""
    noted: dict[str, tuple[float, str]] = {}

    def note(stage: str, deviation: float, case: str) -> float:
        noted[stage] = max(noted.get(stage, (-1.0, "")), (float(deviation), case))
        return deviation

    yield note
    content = {stage: {"deviation": deviation, "case": case} for stage, (deviation, case) in noted.items()}
    (reference / f"worst_{keras.backend.backend()}.json").write_text(json.dumps(content, indent=1))
