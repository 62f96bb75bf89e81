"""Images as a browser can show them: what it cannot decode, or only in 8 bits, decoded here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from maskrcnn.images.formats import open_file
from maskrcnn.images.values import limits, to_channels
from maskrcnn.serving import problems
from maskrcnn.serving.answers import png
from maskrcnn.serving.detecting import IMAGE_BODY
from maskrcnn.serving.reading import Upload, checked
from maskrcnn.serving.service import Service, while_wanted

_TOP = 65535  # of the values that are sent


def make_router(service: Service) -> APIRouter:
    """The route /v1/view."""
    router = APIRouter(prefix="/v1", tags=["detect"])

    @router.post(
        "/view",
        summary="An image as PNG, for a page that shows it",
        description="Gray of more than 8 bits comes as 16 bits in the red and the green channel (`X-Values: uint16`), with "
        "what is to be black and white (`X-Window: low,high`), so that the page can change that by itself.",
        response_class=Response,
        responses=problems.success("PNG.", "image/png") | problems.responses(401, 413, 415, 422, 503, 504),
        openapi_extra=IMAGE_BODY,
    )
    async def view(request: Request) -> Response:
        with service.admission.enter() as place:
            async with asyncio.timeout(service.settings.timeout):
                (upload,) = await service.uploads(request, place, max_files=1)
                return await while_wanted(request, service.in_thread(show, upload, service.settings.max_pixels))

    return router


def show(upload: Upload, max_pixels: int) -> Response:
    """A response with the image; see `make_router`."""
    with checked(upload, max_pixels) as path:
        values = _values(path)
        if values.dtype == np.uint8 or values.ndim != 2:
            return Response(png(to_channels(values, 3)), media_type="image/png")
    packed, window = pack(values)
    headers = {"X-Values": "uint16", "X-Window": f"{window[0]},{window[1]}"}
    return Response(png(packed), headers=headers, media_type="image/png")


def pack(values: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Gray values (H, W) of any kind as 16 bits in two channels (H, W, 3), and what to show as black and white of them.

    Unsigned 16 bits stay as they are; others are stretched from their least to their greatest. NaN is least.
    """
    low, high = (float(limit[0]) for limit in limits(values[..., None].astype(np.float32), each_channel=False))
    if values.dtype != np.uint16:
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        least, greatest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        scale = _TOP / max(greatest - least, 1e-30)
        levels = np.nan_to_num((values.astype(np.float64) - least) * scale, posinf=_TOP, neginf=0)
        values = np.clip(np.rint(levels), 0, _TOP).astype(np.uint16)
        low, high = (low - least) * scale, (high - least) * scale
    packed = np.zeros((*values.shape, 3), np.uint8)
    packed[..., 0], packed[..., 1] = values >> 8, values & 255
    return packed, (int(np.clip(low, 0, _TOP)), int(np.clip(high, 0, _TOP)))


def _values(path: Path) -> np.ndarray:
    """As the file has them: (H, W), or (H, W, 3) RGB."""
    with open_file(path) as file:
        return file.values(1)
