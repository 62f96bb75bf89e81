"""Fenced blocks of the documentation: those marked as tested, code quoted from the source, and every other one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    mark: str  # what the comment directly above the block says: `tested`, `from PATH`; or nothing
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The page's fenced blocks in their order."""
    return [
        Block(*match.group("mark", "language", "text"))._replace(mark=match["mark"] or "")
        for match in _BLOCK.finditer(page.read_text("utf-8"))
    ]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell block, without comments, prompts, and variables set for it alone.

    Commands joined by `&&` or `|` are several. A variable that a line of its own sets is filled in below it.
    """
    variables: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        words: list[str] = []
        for word in (*_words(line.removeprefix("$ ")), "&&"):
            if word not in ("&&", "|"):
                words.append(word)
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                name, _, value = words.pop(0).partition("=")
                if not words:
                    variables[name] = value
            if words:
                yield words
            words = []


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|")
    lexer.whitespace_split = True
    return list(lexer)


def links(page: Path) -> list[str]:
    """Where the page's relative links lead, as written."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as Python-Markdown and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain}
