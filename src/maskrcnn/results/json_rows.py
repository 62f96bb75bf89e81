"""A JSON list on disk that grows row by row, and is whole whenever it is closed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from maskrcnn.atomic import part_of


class JsonRows:
    """Writes a list of rows; the file has its name from the end of the `with` block on, which may be an error.

    Example:
        with JsonRows(Path("rows.json")) as rows:
            rows.add([{"id": 1}])

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = part_of(path)
        self._end = 0  # of the last whole row

    def __enter__(self) -> JsonRows:
        self._file = open(self._part, "wb")
        self._append("[")
        return self

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Rows that stay, whatever comes after them."""
        if rows:
            separator = ",\n" if self._end > len("[") else "\n"
            self._append(separator + ",\n".join(json.dumps(row, allow_nan=False) for row in rows))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.seek(self._end)  # rows that were broken off in the middle go
        self._file.truncate()
        self._append("\n]\n")
        self._file.close()
        os.replace(self._part, self.path)

    def _append(self, text: str) -> None:
        self._file.write(text.encode())
        self._file.flush()
        self._end = self._file.tell()
