"""Processes that train together look at the images of a validation together, each at a part of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import keras
import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.distributed.place import Place
from maskrcnn.distributed.processes import gathered
from maskrcnn.geometry.rle import rle_region, rle_to_box
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.whole import detect
from maskrcnn.structures import Detector, PaddedDetections


class SharedFinder:
    """Finds objects as its model does; every process has a part of the images, and the first gets all answers.

    An image's answer does not depend on the others, so scores are those of one process.

    Args:
        model: the same in all processes.
        place: of this process.
        batch_size: images that go through the model together.
    """

    def __init__(self, model: Any, place: Place, *, batch_size: int = 1) -> None:
        self._model: Detector = OnOwnDevices(model) if keras.backend.backend() == "jax" else model
        self._place = place
        self._batch_size = batch_size

    @property
    def config(self) -> ModelConfig:
        return self._model.config

    def detect(self, images: Sequence[Any], *, batch_size: int, score: Any) -> Iterator[Detections]:
        """What is found in each image, in their order; nothing in processes but the first. All processes call it together."""
        number, among, _, _, _ = self._place
        found = detect(self._model, images[number::among], batch_size=self._batch_size, score=score)
        parts = gathered(packed(found))
        if not self._place.is_first:
            return
        answers = [unpacked(part, self.config) for part in parts]
        for place in range(len(images)):
            yield next(answers[place % among])


class OnOwnDevices:
    """A model's present weights on this process's devices of JAX alone: no other process needs to ask it at the same time."""

    def __init__(self, network: Any) -> None:
        import jax

        self.config: ModelConfig = network.config
        layout = jax.sharding.NamedSharding(jax.sharding.Mesh(jax.local_devices(), ("batch",)), jax.sharding.PartitionSpec())
        self._weights = [
            jax.device_put([np.asarray(variable.value) for variable in some], layout)
            for some in (network.trainable_variables, network.non_trainable_variables)
        ]
        self._answer = jax.jit(lambda weights, batch: network.stateless_call(*weights, batch, training=False)[0])

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        import jax

        return PaddedDetections(*jax.tree.map(np.asarray, tuple(self._answer(self._weights, batch))))


@dataclass(frozen=True, eq=False)
class ReceivedDetections(Detections):
    """Detections whose masks came as run lengths.

    Attributes:
        rles: N COCO RLE dicts, in the place of `small_masks`.
    """

    rles: Sequence[dict[str, Any]] = ()

    def __getitem__(self, rows: Any) -> Self:
        chosen: Any = [rows] if isinstance(rows, (int, np.integer)) else rows
        return replace(super().__getitem__(rows), rles=[self.rles[row] for row in np.arange(len(self))[chosen]])

    def rle(self) -> list[dict[str, Any]]:
        return list(self.rles)

    def cutouts(self) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
        for mask in self.rles:
            left, top, right, bottom = rle_to_box(mask).astype(int).tolist()
            yield rle_region(mask, (left, top, right, bottom))[0], (left, top)


def packed(found: Iterable[Detections]) -> bytes:
    """Detections of some images as bytes: what scores and drawings need of them, masks as COCO's run lengths."""
    sizes, counts, parts, rles, keypoints = [], [], [], [], []
    for each in found:
        sizes.append(each.size)
        counts.append(len(each))
        parts.append((each.boxes, each.scores, each.labels))
        rles += [bytes(rle["counts"]) for rle in each.rle()]
        keypoints += [] if each.keypoints is None else [each.keypoints]
    boxes, scores, labels = zip(*parts) if parts else ((), (), ())
    file = io.BytesIO()
    np.savez(
        file,
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        counts=np.array(counts, np.int32),
        boxes=_joined(boxes, np.float32).reshape(-1, 4),
        scores=_joined(scores, np.float32),
        labels=_joined(labels, np.int32),
        lengths=np.array([len(text) for text in rles], np.int32),
        rles=np.frombuffer(b"".join(rles), np.uint8),
        keypoints=np.concatenate(keypoints) if keypoints else np.zeros((0, 0, 3), np.float32),
    )
    return file.getvalue()


def _joined(arrays: Sequence[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.zeros(0, kind)


def unpacked(content: bytes, config: ModelConfig) -> Iterator[Detections]:
    """The detections of `packed`, image by image."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        sizes, counts, boxes, scores, labels, lengths, rles, keypoints = (
            arrays[name] for name in ("sizes", "counts", "boxes", "scores", "labels", "lengths", "rles", "keypoints")
        )
    text, ends, first = rles.tobytes(), np.cumsum(lengths), 0
    named: dict[str, Any] = {"keypoint_names": config.keypoint_names, "skeleton": config.skeleton} if keypoints.size else {}
    for (height, width), count in zip(sizes.tolist(), counts.tolist()):
        rows = slice(first, first + count)
        own = [
            {"size": [height, width], "counts": text[end - length : end]}
            for length, end in zip(lengths[rows].tolist(), ends[rows].tolist())
        ]
        yield ReceivedDetections(
            boxes=boxes[rows],
            scores=scores[rows],
            labels=labels[rows],
            small_masks=np.zeros((count, 0, 0), np.float32),
            size=(height, width),
            class_names=config.class_names,
            keypoints=keypoints[rows] if config.keypoint_head.num_keypoints else None,
            rles=own,
            **named,
        )
        first += count
