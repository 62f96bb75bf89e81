"""Masks for boxes that a client draws: a promptable Mask R-CNN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request

from maskrcnn.serving import problems
from maskrcnn.serving.answers import objects_of
from maskrcnn.serving.detecting import IMAGE_BODY
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.reading import decode
from maskrcnn.serving.service import Service, while_wanted
from maskrcnn.structures import Detections, Detector

BOX_LIMIT = 100  # boxes of a request

Segment = Callable[[Detector, np.ndarray, np.ndarray], Detections]
"""(model, image (H, W, C) uint8, boxes (N, 4) xyxy in pixels of the image) → N detections in the order of the boxes."""


def make_router(service: Service, segment: Segment) -> APIRouter:
    """The route /v1/segment."""
    router = APIRouter(prefix="/v1", tags=["detect"])

    @router.post(
        "/segment",
        summary="Masks for boxes",
        description="The body is an image. The answer has for each box its mask, the class that the model takes it for, and "
        "how sure it is of that.",
        responses=problems.responses(401, 413, 415, 422, 503, 504),
        openapi_extra=IMAGE_BODY,
    )
    async def masks(
        request: Request,
        box: Annotated[
            list[str],
            Query(
                min_length=1,
                max_length=BOX_LIMIT,
                description="left,top,right,bottom in pixels; once for each box.",
                openapi_examples={"one": {"value": ["10,20,110,90"]}},
            ),
        ],
    ) -> dict[str, Any]:
        boxes = np.array([_numbers(text) for text in box], np.float32)
        with service.admission.enter() as place:
            async with asyncio.timeout(service.settings.timeout):
                (upload,) = await service.uploads(request, place, max_files=1)
                image = await service.in_thread(decode, upload, service.config.image, service.settings.max_pixels)
                return await while_wanted(request, segmented(service, segment, image, boxes))

    return router


async def segmented(service: Service, segment: Segment, image: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """What the model says of boxes, as JSON.

    Raises:
        ProblemError: 422, for a box without area inside the image.
    """
    height, width = image.shape[:2]
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))  # (N, 4)
    if not (np.isfinite(boxes).all() and (clipped[:, 2:] > clipped[:, :2]).all()):
        raise ProblemError(422, f"A box is left,top,right,bottom and has area in the image of {width}×{height} pixels.")
    await asyncio.to_thread(service.load_for_boxes, service.queue.detector)  # others are answered meanwhile
    found = await asyncio.wrap_future(service.queue.call(lambda detector: segment(detector, image, clipped)))
    return {"detections": objects_of(found)}


def _numbers(text: str) -> list[float]:
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise ProblemError(422, f"A box is left,top,right,bottom in pixels; received {text[:60]!r}.") from None
    return [left, top, right, bottom]
