"""Weights found by name: in the package, in the cache, or downloaded and checked."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from maskrcnn import backend
from maskrcnn.weights.published import PUBLISHED, SHIPPED, Published

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress, TaskID


MAX_BYTES = 1 << 30  # the largest of the files has half of it
TIMEOUTS = (10.0, 60.0)  # seconds: to connect, and between two pieces
ATTEMPTS = 10  # each goes on where the last one broke, and is the last one if it brought nothing
CHUNK = 1 << 16  # bytes; a connection that breaks loses at most so many
INSECURE = False  # whether http:// is allowed: to the server of the tests, which no certificate names


def resolve(name_or_path: str | Path, *, progress: bool = True) -> Path:
    """The file that a name or a path means; a published one is fetched where it is not in the cache yet.

    Raises:
        FileNotFoundError: a path where nothing is.
        ValueError, ConnectionError: as `fetch`.
    """
    if name_or_path in PUBLISHED:
        return fetch(str(name_or_path), progress=progress)
    path = Path(name_or_path)
    if path.exists():
        return model_file(path)
    if name_or_path in SHIPPED:
        return SHIPPED[str(name_or_path)]
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"No weights file at {path}.")
    raise _unknown(str(name_or_path))


def model_file(name_or_path: str | Path) -> Path:
    """The file of a whole model: a path itself, the best one in the folder of a training run, or one of `SHIPPED`.

    Raises:
        FileNotFoundError: nothing there, or a folder without `best.keras` and `last.keras`.
    """
    path = Path(name_or_path)
    if not path.exists():
        path = SHIPPED.get(str(path), path)
    if not path.exists():
        raise FileNotFoundError(
            f"No model file at {path}; a model that comes with the package is {', '.join(SHIPPED)}, and maskrcnn convert list "
            "names those that are downloaded."
        )
    if not path.is_dir():
        return path
    found = [path / name for name in ("best.keras", "last.keras") if (path / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{path} holds neither best.keras nor last.keras; is it the folder of a training run?")
    return found[0]


def published_model(name_or_path: str | Path) -> str | None:
    """The name of a published model, where it is one.

    Raises:
        ValueError: it is the name of a backbone alone.
    """
    name = str(name_or_path)
    if name not in PUBLISHED:
        return None
    if PUBLISHED[name].is_backbone:
        raise ValueError(f"{name} is a backbone alone, which finds nothing; train a model from it with --init {name}.")
    return name


def file_here(name_or_path: str | Path) -> Path:
    """As `model_file`, and a published model's file, downloaded on first use.

    Raises:
        FileNotFoundError, ValueError: as `model_file` and `published_model`.
        ConnectionError: it cannot be downloaded.
    """
    published = published_model(name_or_path)
    return model_file(name_or_path) if published is None else fetch(published)


def fetch(name: str, *, progress: bool = True, cache: str | Path | None = None) -> Path:
    """The cached file of a published checkpoint, downloaded on first use.

    A download that broke off goes on where it stopped, also in a later call. Only a whole file whose digest is right gets the
    final name. Processes that want the same file wait for the one that downloads it.

    Args:
        name: one of `PUBLISHED`.
        progress: show a bar, and the license, on stderr while downloading.
        cache: folder of the files; where None, `weights` in the folder that the variable MASKRCNN_HOME names, else in the
            platform's folder for caches.

    Raises:
        ValueError: an unknown name, naming the nearest; a file of another length or digest than the published one.
        ConnectionError: the file is not there and cannot be downloaded; one line that says what to put where.
    """
    from filelock import FileLock

    if name not in PUBLISHED:
        raise _unknown(name)
    file = PUBLISHED[name]
    path = (cache_folder() if cache is None else Path(cache)) / file.file_name
    if path.is_file():  # of an earlier call, or put there by hand
        _check(file, path, "Delete it, and it is downloaded anew.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():  # another process may have brought it meanwhile
            _download(file, path, progress=progress)
    return path


def cache_folder() -> Path:
    """Where published files are kept."""
    return backend.cache_folder() / "weights"


def _unknown(name: str) -> ValueError:
    names = [*SHIPPED, *PUBLISHED]
    nearest = difflib.get_close_matches(name, names, n=3) or names
    return ValueError(f"No file and no published checkpoint is called {name!r}; published are {', '.join(nearest)}.")


def _check(file: Published, path: Path, advice: str) -> None:
    """Raises ValueError where the file's digest is not the published one."""
    algorithm, _, digits = file.digest.partition(":")
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if not found.startswith(digits):
        raise ValueError(
            f"{path} is not {file.name}: its {algorithm} is {found[: len(digits)]}, published is {digits}. {advice}"
        )


def _download(file: Published, path: Path, *, progress: bool) -> None:
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    part = path.with_name(path.name + ".part")
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    console.print(f"Downloading {file.origin}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with requests.Session() as session, Progress(*columns, console=console, disable=not progress) as bar:
        if not INSECURE:
            del session.adapters["http://"]  # then no redirection leads there either
        session.headers["Accept-Encoding"] = "identity"  # so that lengths and ranges count the file's own bytes
        task = bar.add_task(file.file_name, total=file.size)
        for attempt in range(1, ATTEMPTS + 1):
            before = _length(part)
            try:
                _receive(session, file, part, bar, task)
                break
            except requests.RequestException as error:
                if attempt == ATTEMPTS or _length(part) <= before:
                    status = "" if error.response is None else f" {error.response.status_code}"
                    raise ConnectionError(
                        f"{file.file_name} could not be downloaded ({type(error).__name__}{status}): "
                        f"get it from {file.url} and put it at {path}, where it is then found."
                    ) from error
    try:
        _check(file, part, "It was removed; download it again.")
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)


def _receive(session: requests.Session, file: Published, part: Path, bar: Progress, task: TaskID) -> None:
    """Completes `part` in one request, or raises what broke it."""
    start = _length(part)
    with session.get(file.url, headers={"Range": f"bytes={start}-"} if start else {}, stream=True, timeout=TIMEOUTS) as answer:
        served = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        resumed = answer.status_code == 206 and served is not None and int(served[1]) == start
        if start and not resumed and answer.status_code in (206, 416):  # what is there is not a piece of the server's file
            part.unlink()
            return _receive(session, file, part, bar, task)
        answer.raise_for_status()
        if resumed and served is not None:
            total = int(served[2])
        else:  # the first request, or a server that knows no ranges and sends all of it
            start, total = 0, int(answer.headers.get("Content-Length", 0)) or file.size or MAX_BYTES
        if total > MAX_BYTES or file.size not in (None, total):
            expected = f"{file.size:,}" if file.size else f"at most {MAX_BYTES:,}"
            raise ValueError(f"{file.url} has {total:,} bytes; {file.name} has {expected}, so nothing was downloaded.")
        bar.update(task, completed=start, total=total)
        with open(part, "ab" if start else "wb") as out:
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.advance(task, len(chunk))
                if out.tell() > total:
                    raise ValueError(f"{file.url} sends more than the {total:,} bytes that it should have.")
    return None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
