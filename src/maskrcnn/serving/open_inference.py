"""The Open Inference Protocol, version 2, over HTTP: what KServe and Triton clients speak.

A model of this package takes `image`: encoded files as BYTES (N), or pixels as UINT8 (H, W, C) or (N, H, W, C). It answers
`count`, how many objects each image has, and the objects of all images one after the other. BYTES in JSON are base64. Tensors
may follow the JSON as bytes (the binary tensor extension).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.serving import problems
from maskrcnn.serving.answers import Answer
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.reading import Upload
from maskrcnn.serving.service import LEAST_TILE, Service, Wishes, while_wanted

VERSION = "1"
_LENGTH = "Inference-Header-Content-Length"  # of the JSON, where tensors follow it
_OUTPUTS: dict[str, tuple[str, list[int]]] = {
    "count": ("INT32", [-1]),
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "labels": ("INT32", [-1]),
    "class_names": ("BYTES", [-1]),
    "masks": ("BYTES", [-1]),
}
_DTYPES = {"INT32": "<i4", "FP32": "<f4"}
_EXAMPLE_IMAGE = (  # a PNG of 64 × 64 gray pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAKUlEQVR42u3MQREAAAwCIKMb3RD77SAA6VEEAoFAIBAIBAKBQCAQfA8G320AeXC6efoA"
    "AAAASUVORK5CYII="
)


class _Input(NamedTuple):
    datatype: str
    shape: list[int]
    data: Any  # values of JSON, or the tensor's bytes


def make_router(service: Service) -> APIRouter:
    """The routes under /v2."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    name = service.settings.model_name

    @router.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "maskrcnn", "version": version("maskrcnn"), "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", summary="Whether the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready", summary="Whether the model answers", responses=problems.responses(503))
    async def ready() -> dict[str, bool]:
        if not service.is_ready:
            raise ProblemError(503, "The model is not ready.", headers={"Retry-After": "1"})
        return {"ready": True}

    @router.get("/models/{model}/ready", summary="Whether the model answers", responses=problems.responses(404, 503))
    @router.get("/models/{model}/versions/{number}/ready", include_in_schema=False)
    async def model_ready(model: str, number: str = VERSION) -> dict[str, Any]:
        _check_model(model, number, name)
        return {"name": name, **await ready()}

    @router.get("/models/{model}", summary="The model's tensors", responses=problems.responses(401, 404))
    @router.get("/models/{model}/versions/{number}", include_in_schema=False)
    async def metadata(model: str, number: str = VERSION) -> dict[str, Any]:
        _check_model(model, number, name)
        outputs = [{"name": each, "datatype": datatype, "shape": shape} for each, (datatype, shape) in _OUTPUTS.items()]
        inputs = [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        return {"name": name, "versions": [VERSION], "platform": "maskrcnn", "inputs": inputs, "outputs": outputs}

    @router.post(
        "/models/{model}/infer",
        summary="Find objects",
        response_class=Response,
        responses=problems.success("Tensors.", "application/json") | problems.responses(401, 404, 413, 415, 422, 503, 504),
        openapi_extra=_body(),
    )
    @router.post("/models/{model}/versions/{number}/infer", include_in_schema=False)
    async def infer(request: Request, model: str, number: str = VERSION) -> Response:
        _check_model(model, number, name)
        with service.admission.enter() as place:
            async with asyncio.timeout(service.settings.timeout):
                asked, inputs = _parse(await request.body(), request.headers.get(_LENGTH))
                items = _items(inputs, service)
                place.grow(len(items) - 1)
                wishes = _wishes(asked.get("parameters"), service)
                found = await while_wanted(request, _detect(service, items, wishes))
                return await service.in_thread(_answer, name, asked, found)

    return router


def _check_model(model: str, number: str, name: str) -> None:
    if model != name or number != VERSION:
        raise ProblemError(
            404, f"This server has model {name}, version {VERSION}; received {model[:80]}, version {number[:20]}."
        )


async def _detect(service: Service, items: Sequence[Upload | np.ndarray], wishes: Wishes) -> list[Answer]:
    if isinstance(items[0], Upload):
        return await service.detect([item for item in items if isinstance(item, Upload)], wishes)
    return [await service.detect_array(f"image {k}", np.asarray(item), wishes) for k, item in enumerate(items)]


def _parse(body: bytes, header_length: str | None) -> tuple[dict[str, Any], dict[str, _Input]]:
    """The JSON of a request and its tensors, which lie in it or behind it."""
    length = len(body) if header_length is None else int(header_length) if header_length.isdecimal() else -1
    if not 0 <= length <= len(body):
        raise ProblemError(422, f"{_LENGTH} is the JSON's number of bytes, up to {len(body)}; received {header_length!r:.40}.")
    try:
        asked = json.loads(body[:length])
        found, rest = {}, memoryview(body)[length:]
        for tensor in asked["inputs"]:
            size = (tensor.get("parameters") or {}).get("binary_data_size")
            if size is not None:
                if not isinstance(size, int) or not 0 <= size <= len(rest):
                    raise ProblemError(422, f"binary_data_size is a number of bytes that follow; received {size!r:.40}.")
                data, rest = bytes(rest[:size]), rest[size:]
            else:
                data = tensor["data"]
            found[str(tensor["name"])] = _Input(str(tensor["datatype"]), [int(side) for side in tensor["shape"]], data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProblemError(
            422, f"A request is JSON with inputs that have name, datatype, shape and data: {error!r:.120}."
        ) from None
    return asked, found


def _items(inputs: dict[str, _Input], service: Service) -> list[Upload | np.ndarray]:
    """The images of a request: files, or (H, W, C) uint8."""
    if set(inputs) != {"image"}:
        raise ProblemError(422, f"The model takes one input, image; received {', '.join(inputs)[:80] or 'none'}.")
    tensor = inputs["image"]
    if tensor.datatype == "BYTES":
        items: list[Any] = [Upload(f"image {k}", data) for k, data in enumerate(_files(tensor.data))]
    elif tensor.datatype == "UINT8":
        items = list(_pixels(tensor, service))
    else:
        raise ProblemError(422, f"image is BYTES or UINT8; received {tensor.datatype[:20]}.")
    if not 1 <= len(items) <= service.settings.max_images:
        raise ProblemError(
            413 if items else 422, f"A request brings 1 to {service.settings.max_images} images; received {len(items)}."
        )
    return items


def _files(data: Any) -> Iterator[bytes]:
    if isinstance(data, bytes):
        place = 0
        while place < len(data):
            if place + 4 > len(data) or (end := place + 4 + struct.unpack_from("<I", data, place)[0]) > len(data):
                raise ProblemError(422, "A tensor of BYTES is, for each element, its length in 4 bytes and the element.")
            yield data[place + 4 : end]
            place = end
        return
    for text in _flat(data):
        try:
            yield base64.b64decode(text, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ProblemError(422, "BYTES in JSON are base64; send anything else as a binary tensor.") from None


def _pixels(tensor: _Input, service: Service) -> Iterator[np.ndarray]:
    *batch, height, width, channels = tensor.shape if len(tensor.shape) in (3, 4) else (0, 0, 0)
    wanted = service.config.image.channels
    if channels != wanted or min(tensor.shape) < 1:
        raise ProblemError(422, f"Pixels are (H, W, {wanted}) or (N, H, W, {wanted}); received shape {tensor.shape!r:.80}.")
    if height * width > service.settings.max_pixels:
        raise ProblemError(
            413, f"An image has up to {service.settings.max_pixels / 1e6:g} million pixels; received {width}×{height}."
        )
    try:
        values = (
            np.frombuffer(tensor.data, np.uint8) if isinstance(tensor.data, bytes) else np.array(_flat(tensor.data), np.uint8)
        )
    except (ValueError, TypeError, OverflowError):
        raise ProblemError(422, "UINT8 values are whole numbers from 0 to 255.") from None
    if len(values) != math.prod(tensor.shape):
        raise ProblemError(
            422, f"A tensor of shape {tensor.shape!r:.80} has {math.prod(tensor.shape)} values; received {len(values)}."
        )
    yield from values.reshape(*(batch or (1,)), height, width, channels)


def _flat(data: Any) -> list[Any]:
    """Tensors in JSON may be nested or flat."""
    if not isinstance(data, list):
        raise ProblemError(422, "A tensor's data is a list.")
    flat, waiting = [], [iter(data)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, list):
                waiting.append(iter(item))
                break
            flat.append(item)
        else:
            waiting.pop()
    return flat


def _wishes(parameters: Any, service: Service) -> Wishes:
    given = parameters if isinstance(parameters, dict) else {}
    score, most, tile = given.get("score"), given.get("max_detections"), given.get("tile")
    classes = given.get("classes") or ()
    if score not in (None, "auto") and (not isinstance(score, (int, float)) or not 0 <= score <= 1):
        raise ProblemError(422, f"score is a number from 0 to 1, or auto; received {score!r:.40}.")
    if (most is not None and not (type(most) is int and most >= 1)) or (
        tile is not None and not (type(tile) is int and LEAST_TILE <= tile <= 1 << 16)
    ):
        raise ProblemError(
            422, f"max_detections is at least 1 and tile at least {LEAST_TILE}; received {most!r:.20} and {tile!r:.20}."
        )
    names = classes.split(",") if isinstance(classes, str) else classes
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ProblemError(422, "classes are names, in a list or with commas between them.")
    return Wishes(service.least_score(score), tuple(names), most, tile)


def _answer(name: str, asked: dict[str, Any], found: Sequence[Answer]) -> Response:
    values = _values(found)
    parameters = asked.get("parameters") if isinstance(asked.get("parameters"), dict) else {}
    all_binary = bool((parameters or {}).get("binary_data_output"))
    wanted = [each for each in asked.get("outputs") or [] if isinstance(each, dict)] or [{"name": each} for each in _OUTPUTS]
    outputs, tail = [], []
    for each in wanted:
        if each.get("name") not in _OUTPUTS:
            raise ProblemError(422, f"The model has outputs {', '.join(_OUTPUTS)}; received {each.get('name')!r:.40}.")
        datatype, data = _OUTPUTS[each["name"]][0], values[each["name"]]
        output: dict[str, Any] = {"name": each["name"], "datatype": datatype, "shape": list(np.shape(data)) or [0]}
        own = each.get("parameters") if isinstance(each.get("parameters"), dict) else {}
        if (own or {}).get("binary_data", all_binary):
            tail.append(_as_bytes(datatype, data))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = np.asarray(data).ravel().tolist()
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": name, "model_version": VERSION, "outputs": outputs}
    if isinstance(asked.get("id"), str):
        answer["id"] = asked["id"]
    if not tail:
        return JSONResponse(answer)
    head = json.dumps(answer).encode()
    return Response(b"".join([head, *tail]), headers={_LENGTH: str(len(head))}, media_type="application/octet-stream")


def _values(found: Sequence[Answer]) -> dict[str, Any]:
    every = [answer.detections for answer in found]
    return {
        "count": np.array([len(one) for one in every], np.int32),
        "boxes": np.concatenate([one.boxes for one in every]).astype(np.float32),
        "scores": np.concatenate([one.scores for one in every]).astype(np.float32),
        "labels": np.concatenate([one.labels for one in every]).astype(np.int32),
        "class_names": [name for one in every for name in one.names],
        "masks": [json.dumps(rle_to_json(rle)) for one in every for rle in one.rle()],
    }


def _as_bytes(datatype: str, data: Any) -> bytes:
    if datatype != "BYTES":
        return np.asarray(data).astype(_DTYPES[datatype]).tobytes()
    return b"".join(struct.pack("<I", len(text)) + text for text in (item.encode() for item in data))


def _body() -> dict[str, Any]:
    example = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [_EXAMPLE_IMAGE]}]}
    schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape", "data"],
                    "properties": {
                        "name": {"const": "image"},
                        "datatype": {"enum": ["BYTES", "UINT8"]},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "data": {"type": "array", "items": {}},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"enum": list(_OUTPUTS)}}},
            },
        },
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}
