"""Images that are no files yet, behind an address or on standard input: kept in a folder, bounded, and checked to be images."""

from __future__ import annotations

import filecmp
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import unquote, urlsplit

from maskrcnn.atomic import part_of
from maskrcnn.images.formats import open_file

STANDARD_INPUT = "-"
MAX_BYTES = 1 << 29  # of an image; larger ones are better downloaded by a tool that goes on where it broke
TIMEOUTS = (10.0, 30.0)  # seconds: to connect, and between two pieces
SECONDS = 300.0  # for the whole of an image
CHUNK = 1 << 16  # bytes
INSECURE = False  # whether http:// is allowed: to the server of the tests, which no certificate names


def is_remote(given: str | Path) -> bool:
    """Whether an input is an address, or `-` for standard input."""
    return str(given) == STANDARD_INPUT or re.match(r"https?://", str(given), re.IGNORECASE) is not None


def bring(inputs: Iterable[str | Path], folder: Path, log: Callable[[str], None]) -> list[str | Path]:
    """Inputs with a file in the place of each address and of standard input.

    Args:
        inputs: files, folders, globs, addresses that begin with https://, and `-`.
        folder: of those files, made where one is needed. What is there already stays.
        log: told which file each is.

    Raises:
        ValueError: an address that cannot be had, or what is there is no image, or larger than `MAX_BYTES`; one line.
    """
    return [_brought(str(given), folder, log) if is_remote(given) else given for given in inputs]


def _brought(given: str, folder: Path, log: Callable[[str], None]) -> Path:
    if given == STANDARD_INPUT:
        shown, name, pieces = "Standard input", "stdin", _standard_input()
    else:
        shown, name = given.partition("?")[0], _name(given)  # what follows may be a secret
        pieces = _download(given, shown)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        path = _keep(pieces, folder / name, shown)
    except BaseException:
        with suppress(OSError):  # only what is empty
            for made_here in made:
                made_here.rmdir()
        raise
    log(f"{shown} is kept as {path}.")
    return path


def _keep(pieces: Iterator[bytes], path: Path, shown: str) -> Path:
    """Writes a file of that name, or of the next free one where a file of other content has it."""
    part, received = part_of(path), 0
    try:
        with open(part, "wb") as file:
            for piece in pieces:
                received += len(piece)
                if received > MAX_BYTES:
                    raise ValueError(f"{shown} has more than {MAX_BYTES >> 20} MB, which is the most for an image.")
                file.write(piece)
        numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))
        while path.exists() and not filecmp.cmp(part, path, shallow=False):
            path = next(numbered)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    try:
        open_file(path).close()
    except ValueError as error:
        path.unlink()
        raise ValueError(f"{shown} is no image that can be read: {str(error).partition(': ')[2] or error}") from None
    return path


def _standard_input() -> Iterator[bytes]:
    if sys.stdin.isatty():
        raise ValueError("Standard input is a terminal; send an image: cat photo.jpg | maskrcnn predict -")
    return iter(lambda: sys.stdin.buffer.read(CHUNK), b"")


def _name(address: str) -> str:
    """The last part of an address as a file's name that is one on every system."""
    name = re.sub(r"[^\w.-]+", "_", unquote(urlsplit(address).path).rpartition("/")[2]).lstrip(".")
    return name[-100:] or "image"


def _download(address: str, shown: str) -> Iterator[bytes]:
    """The pieces of what an address sends.

    Raises:
        ValueError: no https://, an error of the server or the connection, or too slow.
    """
    import requests
    from urllib3.exceptions import HTTPError

    if not INSECURE and not address.lower().startswith("https://"):
        raise ValueError(f"{shown} is not encrypted; images are taken from https:// alone. Download it and name the file.")
    ends = time.monotonic() + SECONDS
    with requests.Session() as session:
        if not INSECURE:
            del session.adapters["http://"]  # then no redirection leads there either
        session.headers["Accept-Encoding"] = "identity"
        try:
            with session.get(address, stream=True, timeout=TIMEOUTS) as answer:
                answer.raise_for_status()
                length = answer.headers.get("Content-Length", "")
                if length.isdecimal() and int(length) > MAX_BYTES:
                    raise ValueError(f"{shown} has {int(length) >> 20} MB; {MAX_BYTES >> 20} are the most for an image.")
                while piece := answer.raw.read1(CHUNK):  # whatever is there, so that the clock is looked at
                    if time.monotonic() > ends:
                        raise ValueError(f"{shown} was not there after {SECONDS:.0f} seconds; download it and name the file.")
                    yield piece
        except (requests.RequestException, HTTPError) as error:
            response = getattr(error, "response", None)
            status = "" if response is None else f" {response.status_code}"
            raise ValueError(f"{shown} could not be downloaded ({type(error).__name__}{status}).") from None
