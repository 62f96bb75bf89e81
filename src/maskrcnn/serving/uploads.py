"""The files of a request, from its body: multipart/form-data, or the bytes of one file as they are."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.reading import Upload

_LONGEST_NAME = 200  # characters; longer names are cut


class _InMemory(MultiPartParser):
    """Starlette's parser, which else writes files above a megabyte to the disk."""

    spool_max_size = 1 << 62


async def read_uploads(request: Request, *, max_files: int) -> list[Upload]:
    """All files of a request.

    Args:
        request: its body is bounded by the server's middleware.
        max_files: how many it may bring.

    Raises:
        ProblemError: 422 for a body without a file, or one that cannot be taken apart; 413 for too many files.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        files = await _read_form(request, max_files)
    else:
        files = [Upload(file_name(request.headers.get("x-file-name", "image")), await request.body())]
    if not files or not all(file.data for file in files):
        raise ProblemError(422, "A request brings at least one file, and none is empty; send its bytes, or a form with files.")
    return files


async def _read_form(request: Request, max_files: int) -> list[Upload]:
    try:
        form = await _InMemory(request.headers, request.stream(), max_files=max_files + 1, max_fields=max_files).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        message = str(getattr(error, "message", error)).rstrip(".")
        status = 413 if message.startswith("Too many") else 422
        raise ProblemError(status, f"The form cannot be read: {message}.") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) > max_files:
            raise ProblemError(413, f"A request brings up to {max_files} files; received {len(files)}.")
        return [Upload(file_name(file.filename or "image"), await file.read()) for file in files]
    finally:
        await form.close()


def file_name(given: str) -> str:
    """What a client calls its file, for people to read: without folders and without what cannot be printed."""
    last = PurePosixPath(PureWindowsPath(given).name).name
    return "".join(character for character in last if character.isprintable())[:_LONGEST_NAME] or "image"
