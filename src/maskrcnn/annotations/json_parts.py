"""JSON files of any length, read part by part: a whole file of a million objects takes gigabytes as Python's lists and floats.

msgspec decodes four times as fast as Python's own json, which takes over where a part is no strict JSON (NaN, say).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

PART = 2**20  # bytes that are decoded at once
_SPACE = b" \t\r\n"
_BETWEEN = re.compile(rb"\}\s*,\s*\Z")  # what stands before an entry that follows another one
_MARK = codecs.BOM_UTF8


def decode_json(content: bytes) -> Any:
    """What a JSON text holds, in any encoding that JSON may have, with or without a byte order mark.

    Raises:
        ValueError: for what is no JSON.
    """
    content = content.removeprefix(_MARK)
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json.loads(content)  # NaN, other encodings; or an error that says where


def read_parts(path: Path) -> Iterator[tuple[str, Any]]:
    """The keys of a JSON object with their values, in the file's order; a list comes in parts, each with its key.

    A part of a list is a list, of whole entries; an empty list has one part, which is empty. Everything else comes whole.

    Raises:
        ValueError: for a file that cannot be read, that is no JSON object, or ends before the object does.
    """
    try:
        with open(path, "rb") as file:
            yield from _Reader(file).parts()
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Cannot read {path} as JSON: {error}.") from None


class _Reader:
    """A window over the file's bytes that moves on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = b""
        self._place = 0  # of what comes next, in the window
        self._is_end = False
        self._scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

    def parts(self) -> Iterator[tuple[str, Any]]:
        self._more(len(_MARK))
        self._bytes = self._bytes.removeprefix(_MARK)
        self._expect(b"{")
        if self._next() == b"}":
            return self._close()
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise ValueError(f"an object's key is text; received {key!r:.40}")
            self._expect(b":")
            if self._next() == b"[":
                for part in self._list():
                    yield key, part
            else:
                yield key, self._value()
            if self._next() == b"}":
                return self._close()
            self._expect(b",")

    def _close(self) -> None:
        self._expect(b"}")
        if self._next():
            raise ValueError("something follows behind the object")

    def _list(self) -> Iterator[list[Any]]:
        self._expect(b"[")
        if self._next() == b"]":
            self._expect(b"]")
            yield []
            return
        while True:
            part = self._whole_entries()
            if part is not None:
                yield part
                continue
            entries, is_end = self._entry_by_entry()
            yield entries
            if is_end:
                return

    def _whole_entries(self) -> list[Any] | None:
        """The next entries where they are objects, one after the other, up to the last in the window; else None."""
        while not self._is_end and len(self._bytes) - self._place < PART:
            self._more()
        cut = self._bytes.rfind(b"{", self._place + 1)
        while cut > 0 and not (before := _BETWEEN.search(self._bytes, max(cut - 64, self._place), cut)):
            cut = self._bytes.rfind(b"{", self._place + 1, cut)
        if cut <= 0:
            return None
        try:
            part = msgspec.json.decode(b"[%b]" % self._bytes[self._place : before.start() + 1])  # type: ignore[union-attr]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # the list's end is in it, or the cut went through an entry, or it is no strict JSON
        self._place = cut
        return part

    def _entry_by_entry(self) -> tuple[list[Any], bool]:
        """The entries that are whole in the window, one at least, and whether the list ends behind them."""
        entries = [self._value()]
        text, used = self._text(), 0
        while True:
            used = _behind_space(text, used)
            if text[used : used + 1] == "]":
                self._place += len(text[: used + 1].encode())
                return entries, True
            if text[used : used + 1] != ",":
                break
            try:
                entry, end = self._scan(text, _behind_space(text, used + 1))
            except (StopIteration, json.JSONDecodeError):
                break
            if _may_go_on(text, end):
                break
            entries.append(entry)
            used = end
        self._place += len(text[:used].encode())
        if not self._next():
            raise ValueError("it ends within a list")
        if self._next() == b"]":
            self._expect(b"]")
            return entries, True
        self._expect(b",")
        return entries, False

    def _value(self) -> Any:
        """The next value, whatever it is."""
        self._next()
        while True:
            text = self._text()
            try:
                value, end = self._scan(text, 0)
            except StopIteration:
                if self._is_end:
                    raise ValueError("it ends within a value" if not text else f"no value begins with {text[:20]!r}") from None
            except json.JSONDecodeError as error:
                if self._is_end:
                    raise ValueError(f"{error.msg}, in {text[max(error.pos - 20, 0) : error.pos + 20]!r}") from None
            else:
                if self._is_end or not _may_go_on(text, end):
                    self._place += len(text[:end].encode())
                    return value
            self._more(len(self._bytes))

    def _text(self) -> str:
        """What is in the window, but for a character that is cut off at its end."""
        return codecs.getincrementaldecoder("utf-8")().decode(self._bytes[self._place :], self._is_end)

    def _next(self) -> bytes:
        """The next byte that is no space; nothing at the end."""
        while True:
            rest = self._bytes[self._place : self._place + 256].lstrip(_SPACE)
            if rest:
                self._place += min(256, len(self._bytes) - self._place) - len(rest)
                return rest[:1]
            self._place = min(self._place + 256, len(self._bytes))
            if self._place == len(self._bytes):
                if self._is_end:
                    return b""
                self._more()

    def _expect(self, byte: bytes) -> None:
        came = self._next()
        if came != byte:
            raise ValueError(f"wanted is {byte.decode()!r}; received {came!r}" if came else "it ends too early")
        self._place += 1

    def _more(self, least: int = 0) -> None:
        """Moves the window on: what is not used yet, and as much again of the file."""
        new = self._file.read(max(PART, least))
        self._is_end = not new
        self._bytes = self._bytes[self._place :] + new
        self._place = 0


def _may_go_on(text: str, place: int) -> bool:
    """Whether a number that ends here is perhaps cut off by the window's end."""
    return text[place : place + 1] in ("", ".", "e", "E")


def _behind_space(text: str, place: int) -> int:
    while text[place : place + 1] in (" ", "\t", "\r", "\n"):
        place += 1
    return place
