"""What every test may ask for."""

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from small_coco import write_coco  # noqa: F401  (a fixture of several folders)

os.environ["MASKRCNN_PREPARE_ENGINE"] = "off"  # no test writes an export unasked
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package, which some tests import after Keras
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--browser", action="store_true", help="run the tests that open Chromium, and no others")
    parser.addoption("--until", type=float, help="skip what has not begun by this time, in seconds since 1970")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """On TensorFlow, functions run as they are written unless a test is marked `graph` or `slow`, fixtures included; `eager`
    is for slow ones that would only trace what they run once.

    Tracing the training step of the tests' small network takes 30 processor seconds, running it once without takes 2.
    """
    if (until := item.config.getoption("--until")) and time.time() > until:
        pytest.skip("no time was left")
    if tensorflow := sys.modules.get("tensorflow"):
        as_graphs = any(map(item.get_closest_marker, ("browser", "graph", "slow"))) and not item.get_closest_marker("eager")
        tensorflow.config.run_functions_eagerly(not as_graphs)


BACKEND_ROOMS = ("ops", "model")
QUICK_ROOMS = (
    "annotations", "config", "data", "doctor", "geometry", "images", "inference", "metrics", "reports", "results", "tracking",
)  # fmt: skip
NEED_GRAPHS = (
    "data/test_loader.py",
    "inference/test_whole.py",
    "inference/test_inspection.py",
    "reports/test_inspection.py",
)  # of the quick rooms


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks by folder: what depends on the backend, and what needs no graph of Keras and so is quick.

    Tests of pages in a browser run when they are asked for: beside the rest on two cores, Chromium has stopped whole runs.
    """
    wanted = config.getoption("--browser")
    others = [item for item in items if (item.get_closest_marker("browser") is not None) != wanted]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]
    for item in items:
        path = item.path.relative_to(Path(__file__).parent)
        if path.parts[0] in BACKEND_ROOMS:
            item.add_marker(pytest.mark.backend)
        if path.parts[0] in QUICK_ROOMS and path.as_posix() not in NEED_GRAPHS:
            item.add_marker(pytest.mark.quick)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped, by reason: so that a missing extra is seen, and not taken for a pass."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("skipped, by reason")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:5} {reason.removeprefix('Skipped: ')}")
