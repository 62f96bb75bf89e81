"""The classes of a data set in a JSON file beside it, for formats whose own files name those alone that some object has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.annotations.place import read_json
from maskrcnn.atomic import write_json
from maskrcnn.config.model import Category


def read_categories(path: Path) -> list[Category] | None:
    """The classes in their order; None where there is no such file, or none in it. Odd entries are passed over.

    Raises:
        ValueError: the file is no JSON.
    """
    content = read_json(path) if path.is_file() else None
    listed = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return None
    return [
        Category(each["id"], each["name"])
        for each in listed
        if isinstance(each, dict) and type(each.get("id")) is int and isinstance(each.get("name"), str)
    ]


def write_categories(path: Path, categories: Sequence[Category]) -> None:
    """Writes what `read_categories` reads."""
    write_json(path, {"categories": [{"id": category.id, "name": category.name} for category in categories]})
