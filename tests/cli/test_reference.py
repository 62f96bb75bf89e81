"""The page of the documentation that is made from the commands."""

from __future__ import annotations

from pathlib import Path

from maskrcnn.cli.reference import reference


def test_the_page_of_the_documentation_is_that_of_the_commands():
    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run scripts/reference"
    assert page.count("\n## `maskrcnn ") > 10
    assert page.count("\n### `maskrcnn data ") > 5
    assert "- `--epochs N`: " in page
