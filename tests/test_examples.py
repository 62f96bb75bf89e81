"""The notebooks: the pair of files says the same, and every cell runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("first_steps", "nuclei", "inspection", "tracking", "export")


def test_every_notebook_is_known() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        f"{name}{suffix}" for name in NAMES for suffix in (".py", ".ipynb")
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_says_the_same_and_holds_no_output(name: str) -> None:
    jupytext = pytest.importorskip("jupytext", reason="needs jupytext")
    script, notebook = (jupytext.read(EXAMPLES / f"{name}{suffix}") for suffix in (".py", ".ipynb"))
    assert len(script.cells) > 5
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ], f"scripts/notebooks writes examples/{name}.ipynb anew"
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    assert script.cells[0].source.startswith("# ")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of what a kernel's own libraries use, they may be warned
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    if name == "tracking":
        pytest.importorskip("scipy", reason="the extra `video` is not installed")
    backend = "tensorflow" if name == "export" else "torch"  # a training on PyTorch, which traces no graphs, is done sooner
    if importlib.util.find_spec(backend) is not None:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert all(cell.execution_count is not None for cell in notebook.cells if cell.cell_type == "code")
    assert sum(bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code") >= 3
