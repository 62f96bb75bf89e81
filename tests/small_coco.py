"""Small COCO data sets written to disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_data import write_image


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., Path]:
    """Writes `data.json` and images of 20×30 beside it in `data/`; gives the JSON's path."""

    def write(
        annotations: list[Any],
        *,
        images: list[Any] | None = None,
        categories: list[Any] | None = None,
        folder: str = "data",
        sizes: dict[str, tuple[int, int]] | None = None,
    ) -> Path:
        if images is None:
            images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
        if categories is None:
            categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
        for name, size in ({"a.png": (20, 30)} if sizes is None else sizes).items():
            write_image(tmp_path / folder / name, size)
        path = tmp_path / "data.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        return path

    return write
