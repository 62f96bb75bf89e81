"""Label Studio's protocol for models that annotate beforehand: `/setup`, `/predict`, `/health` and `/webhook`.

What its `label-studio-ml-backend` answers, with the same names. Objects come in the form that the project's labeling interface
has a control for: polygons, brush masks, or boxes. Images are taken from the request itself (data: addresses), or fetched from
the one Label Studio that the server was told of; never from anywhere else, and never from the server's own files.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import numpy as np
import requests
from fastapi import APIRouter, Body, Request

from maskrcnn.annotations.brush_rle import encode_brush
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.serving import problems
from maskrcnn.serving.answers import Answer
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.reading import Upload
from maskrcnn.serving.service import Service, Wishes, while_wanted
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.serving.uploads import file_name
from maskrcnn.structures import Detections

_CONTROLS = ("PolygonLabels", "BrushLabels", "RectangleLabels")  # the better one first
_LONGEST_CONFIG = 1 << 20  # characters
_CHUNK = 1 << 16
_EXAMPLE: dict[str, Any] = {
    "tasks": [
        {
            "id": 1,
            "data": {
                "image": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAKUlEQVR42u3MQREAAAwCIKMb3RD7"
                "7SAA6VEEAoFAIBAIBAKBQCAQfA8G320AeXC6efoAAAAASUVORK5CYII="
            },
        }
    ],
    "label_config": '<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">'
    '<Label value="nucleus"/></PolygonLabels></View>',
}
_SETUP = {"project": "1.1", "schema": _EXAMPLE["label_config"]}


class _Control(NamedTuple):
    """Where in the labeling interface the objects go."""

    kind: str  # one of `_CONTROLS`
    from_name: str
    to_name: str
    field: str  # of a task's data, which holds the image
    labels: frozenset[str]


def make_router(service: Service) -> APIRouter:
    """The routes that Label Studio asks for, at the root as it wants them."""
    router = APIRouter(tags=["label studio"])
    model_version = f"{service.settings.model_name} {version('maskrcnn')}"

    @router.get("/health", summary="Whether the model answers", responses=problems.responses(503))
    async def health() -> dict[str, Any]:
        if not service.is_ready:
            raise ProblemError(503, "The model is not ready.", headers={"Retry-After": "1"})
        return {"status": "UP", "model_class": "MaskRCNN", "v2": True}

    @router.post("/setup", summary="A project is connected", responses=problems.responses(401, 422))
    async def setup(
        asked: Annotated[dict[str, Any], Body(examples=[{"project": "1.1", "schema": _EXAMPLE["label_config"]}])],
    ) -> Any:
        if asked.get("schema"):
            _control(asked["schema"])  # now rather than at the first image
        return {"model_version": model_version}

    @router.post("/webhook", summary="Something happened in a project; nothing is done", status_code=201)
    async def webhook() -> dict[str, Any]:
        return {}

    @router.post(
        "/predict", summary="Annotate tasks beforehand", responses=problems.responses(401, 413, 415, 422, 502, 503, 504)
    )
    async def predict(request: Request, asked: Annotated[dict[str, Any], Body(examples=[_EXAMPLE])]) -> dict[str, Any]:
        control = _control(asked.get("label_config"))
        tasks = asked.get("tasks")
        if not isinstance(tasks, list) or not 1 <= len(tasks) <= service.settings.max_images:
            raise ProblemError(422, f"tasks is a list of 1 to {service.settings.max_images} tasks.")
        with service.admission.enter() as place:
            place.grow(len(tasks) - 1)
            async with asyncio.timeout(service.settings.timeout):
                uploads = [await asyncio.to_thread(_image_of, task, control, service.settings) for task in tasks]
                found = await while_wanted(request, service.detect(uploads, Wishes(service.least_score(None))))
        return {"results": [_prediction(answer, control, model_version) for answer in found]}

    return router


def _control(label_config: Any) -> _Control:
    """The first control of a labeling interface that takes objects, with the image that it is about.

    Raises:
        ProblemError: 422, there is none.
    """
    if not isinstance(label_config, str) or len(label_config) > _LONGEST_CONFIG or "<!" in label_config.replace("<!--", ""):
        raise ProblemError(422, "label_config is the labeling interface, XML without declarations.")
    try:
        view = ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise ProblemError(422, f"label_config is no XML: {error}.") from None
    images = {tag.get("name", ""): tag.get("value", "") for tag in view.iter("Image")}
    for kind in _CONTROLS:
        for tag in view.iter(kind):
            to_name = tag.get("toName", "")
            if images.get(to_name, "").startswith("$"):
                labels = frozenset(label.get("value", "") for label in tag.iter("Label"))
                return _Control(kind, tag.get("name", ""), to_name, images[to_name][1:], labels)
    raise ProblemError(422, f"The labeling interface has no {' or '.join(_CONTROLS)} for an Image.")


def _image_of(task: Any, control: _Control, settings: ServerSettings) -> Upload:
    try:
        address = str(task["data"][control.field])
    except (KeyError, TypeError, IndexError):
        raise ProblemError(422, f"A task's data has {control.field}, as its labeling interface says.") from None
    if address.startswith("data:"):
        try:
            return Upload("image", base64.b64decode(address.partition(",")[2], validate=True))
        except (ValueError, binascii.Error):
            raise ProblemError(422, "A data: address holds base64.") from None
    return _fetch(address, settings)


def _fetch(address: str, settings: ServerSettings) -> Upload:
    """An image of the Label Studio that the server was told of.

    Raises:
        ProblemError: 422 for another address, 502 where Label Studio does not give it, 413 where it is too large.
    """
    if settings.label_studio is None:
        raise ProblemError(422, "This server was not told where its Label Studio is: maskrcnn serve --label-studio ADDRESS.")
    base = settings.label_studio.rstrip("/") + "/"
    full = urljoin(base, address)
    if urlsplit(full)[:2] != urlsplit(base)[:2]:
        raise ProblemError(422, f"Images are fetched from {base} alone; received {address[:100]}.")
    headers = {"Authorization": f"Token {settings.label_studio_token}"} if settings.label_studio_token else {}
    data = bytearray()
    try:
        with requests.get(full, headers=headers, timeout=settings.timeout / 2, stream=True, allow_redirects=False) as answer:
            if answer.status_code != 200:
                raise ProblemError(502, f"Label Studio answered {answer.status_code} for {address[:100]}.")
            for chunk in answer.iter_content(_CHUNK):
                data += chunk
                if len(data) > settings.max_bytes:
                    raise ProblemError(413, f"{address[:100]} has more than {settings.max_bytes / 2**20:g} MiB.")
    except requests.RequestException as error:
        raise ProblemError(502, f"Label Studio does not answer: {type(error).__name__}.") from None
    return Upload(file_name(urlsplit(full).path), bytes(data))


def _prediction(answer: Answer, control: _Control, model_version: str) -> dict[str, Any]:
    found = answer.detections
    known = [k for k, name in enumerate(found.names) if not control.labels or name in control.labels]
    shapes_of = {"PolygonLabels": _polygons, "BrushLabels": _brushes, "RectangleLabels": _rectangles}[control.kind]
    shapes = shapes_of(found, known)
    height, width = found.size
    result = [
        {
            "id": f"object-{k}-{part}",
            "from_name": control.from_name,
            "to_name": control.to_name,
            "type": control.kind.lower(),
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": float(found.scores[k]),
            "value": value | {control.kind.lower(): [found.names[k]]},
        }
        for k, part, value in shapes
    ]
    score = float(found.scores[known].mean()) if known else 0.0
    return {"model_version": model_version, "score": score, "result": result}


def _polygons(found: Detections, rows: Sequence[int]) -> list[tuple[int, int, dict[str, Any]]]:
    """Each part of each mask as a polygon, in percent of the image."""
    scale = 100 / np.array(found.size[::-1])
    return [
        (k, part, {"points": (outline * scale).round(4).tolist(), "closed": True})
        for k, outlines in zip(rows, found[list(rows)].polygons(), strict=True)
        for part, outline in enumerate(outlines)
    ]


def _brushes(found: Detections, rows: Sequence[int]) -> list[tuple[int, int, dict[str, Any]]]:
    """Each mask as it is, in the run lengths of Label Studio's own."""
    masks = zip(rows, found[list(rows)].rle(), strict=True)
    return [(k, 0, {"format": "rle", "rle": encode_brush(rle_to_mask(rle))}) for k, rle in masks]


def _rectangles(found: Detections, rows: Sequence[int]) -> list[tuple[int, int, dict[str, Any]]]:
    height, width = found.size
    shapes = []
    for k in rows:
        left, top, right, bottom = (found.boxes[k] * 100 / np.array([width, height, width, height])).tolist()
        shapes.append((k, 0, {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}))
    return shapes
