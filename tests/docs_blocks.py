"""Fenced blocks of the documentation: those marked as tested, and code quoted from the source."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(r"^<!-- (?P<mark>[^\n]+) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    mark: str  # what the comment above the block says: `tested`, or `from PATH`
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The page's blocks with a comment directly above, in their order."""
    return [Block(*match.group("mark", "language", "text")) for match in _BLOCK.finditer(page.read_text("utf-8"))]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each `maskrcnn` command, without comments and without the program's name."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "maskrcnn", f"a tested block holds maskrcnn commands alone; it has {line!r}"
            yield words[1:]


def links(page: Path) -> list[str]:
    """Where the page's relative links lead, as written."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text("utf-8")))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as Python-Markdown and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain}
