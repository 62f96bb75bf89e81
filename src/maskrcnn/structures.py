"""What travels between the rooms, shape beside each field.

`B` images, `N` rows, `K` classes, `H W` pixels, `A` anchors, `M` mask side. Boxes are xyxy float32 everywhere: x to
the right, y down, the first pixel covers 0 to 1. *Frame* is the padded, resized image that the model sees; *original* the
image on disk.

Tensor structures are NamedTuples with fixed rows and a `valid` mask; what people hold (`Sample`, `Detections`) is NumPy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

from maskrcnn.geometry import keypoints as keypoint_arrays
from maskrcnn.geometry import paste, polygons, rle
from maskrcnn.geometry.turns import Turn

if TYPE_CHECKING:
    from maskrcnn.config.model import ModelConfig


SAID_ABSENT, INCOMPLETE = 1, 2  # of `Batch.class_marks`
_LISTED = 5  # classes in a `repr`


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its ground truth, in original pixels. Masks stay RLE until the batch crops them to their boxes.

    Attributes:
        image_id: id in the annotation file.
        file_name: as the annotation file writes it.
        path: of the image file.
        size: (height, width) of the image after EXIF rotation.
        boxes: (N, 4) float32 xyxy.
        labels: (N,) int32, index into the data set's categories.
        crowd: (N,) bool; crowd regions are never positives and never negatives.
        rles: N COCO RLE dicts `{"size": [h, w], "counts": bytes}`; after an augmentation made when they are asked for.
        areas: (N,) float32, as annotated (COCO's size classes rest on it).
        annotation_ids: (N,) int64.
        scores: (N,) float32 in [0, 1] of objects that a model found, on their way to a file; None of ground truth.
        keypoints: (N, K, 3) float32 x, y and COCO's visibility: 0 not labeled, 1 hidden, 2 visible; None if the data has none.
        mirror: which keypoint each of the K becomes when mirrored, see `config.keypoints.mirror_of`.
        absent: labels of classes that were searched for in the image but not found (LVIS's neg_category_ids).
        incomplete: labels of classes of which not every object is annotated (LVIS's not_exhaustive_category_ids).
        image: (H, W, C) uint8 once it has been read, else None; RGB where C is 3.
        frame: (height, width) of a frame that a fitted image is cropped for; None leaves the choice to `ImageConfig`.
        fitted: whether the image has the size in which the model will see it, because an augmentation chose that; else the
            batch resizes it.
    """

    image_id: int
    file_name: str
    path: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    rles: Sequence[dict[str, Any]]
    areas: np.ndarray
    annotation_ids: np.ndarray
    image: np.ndarray | None = None
    fitted: bool = False
    frame: tuple[int, int] | None = None
    scores: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    mirror: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    incomplete: tuple[int, ...] = ()

    def with_labels(self, new_labels: Any) -> Sample:
        """The sample with other labels: `new_labels[label]`, below 0 where a class that has no object here is left out."""
        new_labels = np.asarray(new_labels, np.int32)
        absent, incomplete = (
            tuple(label for label in new_labels[list(labels)].tolist() if label >= 0) if labels else ()
            for labels in (self.absent, self.incomplete)
        )
        return replace(self, labels=new_labels[self.labels], absent=absent, incomplete=incomplete)

    def replace(self, **changes: Any) -> Sample:
        """A copy with `changes`, new values of attributes by their names; the sample itself stays as it is."""
        return replace(self, **changes)

    def keypoints_of(self, rows: Any) -> np.ndarray | None:
        """Keypoints of some of the objects.

        Args:
            rows: an index array or a boolean array.

        Returns:
            (n, K, 3), a copy, in the form of `keypoints`; None where the data has none.
        """
        return None if self.keypoints is None else self.keypoints[rows]


class Batch(NamedTuple):
    """What the model trains on; the model takes it as a dict of the same names (`_asdict()`).

    A dict with `images` and `sizes` alone asks for detections; with the truth beside them, for losses.
    """

    images: Any  # (B, H, W, C) uint8 or float32, 0 to 255, RGB where C is 3; zeros around by `ImageConfig.place`
    sizes: Any  # (B, 2) int32 height, width of the part of the frame that is image
    boxes: Any  # (B, N, 4) float32 xyxy, pixels of the frame
    labels: Any  # (B, N) int32 in 0 … K-1
    masks: Any  # (B, N, M, M) uint8 0 or 1, each cropped to its box; M = MaskHeadConfig.truth_size
    crowd: Any  # (B, N) bool
    valid: Any  # (B, N) bool; False rows are padding
    image_ids: Any  # (B,) int64
    keypoints: Any = ()  # (B, N, K, 3) float32 x, y in pixels of the frame, and visibility; () where the model has none
    # (B, K) uint8: 1 for classes that the image was searched for without finding one, 2 for those of which not every object is
    # annotated, else 0; () where the loss does not ask.
    class_marks: Any = ()


class Proposals(NamedTuple):
    boxes: Any  # (B, N, 4) xyxy, pixels of the frame
    scores: Any  # (B, N) in [0, 1], best first
    valid: Any  # (B, N) bool; False rows are padding


class AnchorTargets(NamedTuple):
    """The anchors that the RPN's loss looks at: first the positives, then the negatives."""

    indices: Any  # (B, S) int32 into the flat anchors
    positive: Any  # (B, S) bool
    valid: Any  # (B, S) bool; False rows count nothing
    deltas: Any  # (B, S, 4) from anchor to its object; zeros where not positive


class RoiTargets(NamedTuple):
    """Sampled RoIs and what the heads should say of them: first `P` rows for positives, then the background.

    Those of a cascade's further stages have their positives in any rows.
    """

    rois: Any  # (B, S, 4) xyxy, pixels of the frame
    classes: Any  # (B, S) int32, 0 = background, k + 1 = label k
    deltas: Any  # (B, S, 4) from RoI to its object, scaled by the box head's weights; zeros where background
    matched: Any  # (B, S) int32, row of the truth; meaningful where positive
    positive: Any  # (B, S) bool
    valid: Any  # (B, S) bool


class PaddedDetections(NamedTuple):
    """The model's answer for a batch, fixed rows."""

    boxes: Any  # (B, N, 4) xyxy, pixels of the frame, inside the image
    scores: Any  # (B, N) in [0, 1], best first
    labels: Any  # (B, N) int32 in 0 … K-1
    masks: Any  # (B, N, M, M) in [0, 1], of the predicted class, each in its box
    valid: Any  # (B, N) bool
    heat_maps: Any = ()  # (B, N, K, S, S) logits of each keypoint over the places of its box; () where the model has none


@dataclass(frozen=True, eq=False)
class Detections:  # `inference.detections` adds what people do with them: look, save, convert
    """The objects detected in one image, in original pixels, best first.

    Masks are stored small (`small_masks`, one M×M grid per box) and pasted on request: `masks`, `cutouts()`, `rle()`,
    `polygons()`, `areas()`. Objects merged from several detections have no such grid, but bitmaps instead.

    Attributes:
        boxes: (N, 4) float32 xyxy.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int32, index into `class_names`.
        small_masks: (N, M, M) float32 probabilities, each stretched over its box; (N, 0, 0) where `bitmaps` are given.
        size: (height, width) of the original image.
        class_names: name of each label.
        path: of the image file, if there is one.
        paste: how masks are stretched over their boxes, see `MaskHeadConfig.paste`.
        bitmaps: N masks in the place of `small_masks`, each (h, w) bool and cut to some rectangle of the image.
        corners: (N, 2) int, left and top of each bitmap in the image.
        track_ids: (N,) int64, the same for an object from frame to frame of a video; None for single images.
        image: (H, W) or (H, W, C) uint8, the processed image, if the caller passed it in memory.
        keypoints: (N, K, 3) float32 x, y and a score in [0, 1], see `geometry.keypoints.peaks`; None where the model has none.
        keypoint_names: name of each of the K keypoints.
        skeleton: pairs of keypoints that are drawn connected.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    small_masks: np.ndarray
    size: tuple[int, int]
    class_names: list[str] = field(default_factory=list)
    path: str | None = None
    paste: paste.Paste = "exact"
    bitmaps: Sequence[np.ndarray] | None = None
    corners: np.ndarray | None = None
    track_ids: np.ndarray | None = None
    image: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    keypoint_names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        where = f"in an image of {self.size[0]} × {self.size[1]}"
        if not len(self):
            return f"{type(self).__name__}(none {where})"
        names = Counter(self.names if self.class_names else ["object"] * len(self)).most_common()
        listed = ", ".join(f"{count} {name}" for name, count in names[:_LISTED])
        more = f" and {len(names) - _LISTED} classes more" if len(names) > _LISTED else ""
        scores = f"scores {self.scores.min():.2f} to {self.scores.max():.2f}"
        return f"{type(self).__name__}({len(self)} {where}: {listed}{more}; {scores})"

    def __getitem__(self, rows: Any) -> Self:
        """The detections at `rows`: an index, a slice, an index array or a boolean array. Always a `Detections`."""
        chosen: Any = [rows] if isinstance(rows, (int, np.integer)) else rows
        rows = np.arange(len(self))[chosen]
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            small_masks=self.small_masks[rows],
            bitmaps=None if self.bitmaps is None else [self.bitmaps[row] for row in rows],
            corners=None if self.corners is None else self.corners[rows],
            track_ids=None if self.track_ids is None else self.track_ids[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
        )

    @property
    def names(self) -> list[str]:
        """Name of each detection's class, N strings."""
        return [self.class_names[label] for label in self.labels]

    @property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool in original pixels, pasted anew at each call: N × H × W bytes. `rle()` needs far less."""
        height, width = self.size
        pasted = np.zeros((len(self), height, width), bool)
        for canvas, (cutout, (left, top)) in zip(pasted, self.cutouts()):
            canvas[top : top + cutout.shape[0], left : left + cutout.shape[1]] = cutout
        return pasted

    def cutouts(self) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
        """Each mask cut to its box: (h, w) bool and its corner (left, top), original pixels; memory of one box at a time."""
        if self.bitmaps is not None and self.corners is not None:
            yield from zip(self.bitmaps, map(tuple, self.corners.tolist()))
            return
        for small, box in zip(self.small_masks, self.boxes):
            yield paste.paste_cutout(small, box, self.size, how=self.paste)

    def rle(self) -> list[dict[str, Any]]:
        """N COCO RLE dicts `{"size": [h, w], "counts": bytes}`, original pixels."""
        return list(self._rles)

    def polygons(self) -> list[list[np.ndarray]]:
        """For each detection the outer outlines of its parts, each (P, 2) float32 x, y in original pixels, without holes."""
        return [
            [outline + np.array(corner, np.float32) for outline in polygons.mask_to_polygons(cutout)]
            for cutout, corner in self.cutouts()
        ]

    def areas(self) -> np.ndarray:
        """(N,) int64 pixels of each mask, original pixels."""
        return np.array([np.count_nonzero(cutout) for cutout, _ in self.cutouts()], np.int64)

    def keypoint_row(self, number: int) -> dict[str, list[float]]:
        """What a row of COCO results says of one object's keypoints: x, y and score of each; nothing where there are none.

        COCO counts places in pixels' numbers, and the score takes the place of the visibility, which nobody reads (detectron2).
        """
        return {} if self.keypoints is None else {"keypoints": keypoint_arrays.as_coco(self.keypoints[number])}

    @cached_property
    def _rles(self) -> list[dict[str, Any]]:
        return [rle.cutout_rle(cutout, corner, self.size) for cutout, corner in self.cutouts()]


@runtime_checkable
class Detector(Protocol):
    """Everything that detects: the Keras model, an exported model on its engine, either seen with another configuration.

    It is all that inference asks of a model: files, tiles, tracks, scores and the server work with whatever has it. Several
    threads may ask one detector.
    """

    @property
    def config(self) -> ModelConfig:
        """Classes, preprocessing, and every other number of the model."""

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        """What is found in a batch of frames.

        Args:
            batch: `images` (B, H, W, C) uint8 or float32, 0 to 255, H and W multiples of 32; `sizes` (B, 2) int32 height and
                width of the part of each frame that is image.

        Returns:
            The fields of `PaddedDetections`, in their order, the sixth only where the model has keypoints; boxes in pixels of
            the frame.
        """


@runtime_checkable
class Finder(Protocol):
    """What has its own way from images to detections, such as several models asked together."""

    @property
    def config(self) -> ModelConfig: ...

    def detect(self, images: Any, *, batch_size: int, score: Any) -> Iterable[Detections]: ...


@runtime_checkable
class ChecksMemory(Protocol):
    """A detector that knows what a batch takes; one of the others is asked without."""

    def check_memory(self, frame: tuple[int, int], batch_size: int) -> None:
        """Raises a MemoryError where so many images in a frame (height, width) would not fit, with a setting that would."""


class PixelSize(NamedTuple):
    """How large an image's pixel is in the world."""

    height: float
    width: float
    unit: Literal["mm", "um"]


class VoxelGrid(NamedTuple):
    """Where the planes of a volume lie in its file's array, so that results can be laid on the same voxels."""

    shape: tuple[int, ...]  # of the array, at least three axes
    axis: int  # the one of its first three that counts the planes
    turn: Turn  # from the array's slices to the planes, as a person looks at them
    affine: np.ndarray  # (4, 4) from voxels to the world
    header: dict[str, Any]  # voxel sizes, units and codes that belong to the affine

    def place(self, number: int) -> tuple[Any, ...]:
        """Where in the array the plane of this number lies: planes are counted along the axis, volume after volume."""
        *volume, plane = np.unravel_index(number - 1, (*self.shape[:2:-1], self.shape[self.axis]))
        return (*(int(plane) if axis == self.axis else slice(None) for axis in range(3)), *map(int, volume[::-1]))


@dataclass(frozen=True, eq=False)
class Source:
    """A file of one or several planes, and what they share.

    Attributes:
        path: the file.
        size: (height, width) of every plane; where pages of a TIFF differ, what all of them fit in.
        counts: how many planes along each of `axes`; their product is the number of planes, the last axis runs fastest.
        axes: what tells the planes apart, as OME-TIFF names it: Z for depth, T for time; "" where there is one plane.
        pixel_size: of every plane, where the file gives it.
        spacing: between planes along Z, in the unit of `pixel_size`.
        grid: what results on the file's own grid need: a `VoxelGrid` of a NIfTI file; of a DICOM file a data set that holds
            its references and its place in space, and nothing of the patient's unless that was asked for.
    """

    path: str
    size: tuple[int, int]
    counts: tuple[int, ...] = ()
    axes: str = ""
    pixel_size: PixelSize | None = None
    spacing: float | None = None
    grid: Any = None

    @property
    def num_planes(self) -> int:
        return math.prod(self.counts)

    def place(self, number: int) -> dict[str, int]:
        """Where along each of `axes` a plane lies, from 0."""
        return {axis: int(k) for axis, k in zip(self.axes, np.unravel_index(number - 1, self.counts))} if self.counts else {}


@dataclass(frozen=True, eq=False)
class Plane:
    """One two-dimensional image of a file.

    Attributes:
        source: the file.
        number: its number in the file, from 1.
        values: (H, W) or (H, W, C), as the file means them: Hounsfield units, counts of a detector.
        image: (H, W, 3) uint8 RGB, as a model sees them.
    """

    source: Source
    number: int
    values: np.ndarray
    image: np.ndarray


class VideoFrame(NamedTuple):
    """One image of a video."""

    number: int  # from 0, in the source
    time: float  # seconds since the first frame
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright
    path: str | None = None  # of the image, where a folder of images is the video


class RunView(NamedTuple):
    """A training as its report shows it. Images are `data:` URIs, so that each is drawn and encoded once."""

    title: str
    paragraphs: Sequence[str]  # what is trained on what
    epochs: int  # of the whole run
    history: Sequence[Mapping[str, float]]  # a row an epoch: "epoch" from 0, losses, scores
    rates: Sequence[tuple[int, float]]  # (epoch from 0, learning rate at its end)
    hints: Sequence[str]
    inputs: Sequence[tuple[str, str]]  # (file name, image): augmented, with the ground truth
    truths: Sequence[tuple[str, str]]  # (file name, image): of the validation images, with the ground truth
    looks: Mapping[int, Sequence[str]]  # by epoch from 0, the same images with what was found in them
    settings: Sequence[tuple[str, str, str]]  # (name, value, default) of what differs from the default


class TrackedObjects(NamedTuple):
    """The objects of one frame, as files of tracks hold them: truth, or a result."""

    ids: np.ndarray  # (N,) int64, the same for an object from frame to frame
    boxes: np.ndarray  # (N, 4) float32 xyxy
    labels: np.ndarray  # (N,) int64, as the file numbers its classes; zeros where it has none
    rles: list[dict[str, Any]] | None = None  # N COCO RLE dicts, where the file holds masks
    ignored: np.ndarray | None = None  # (N,) bool, of truth: neither to be found nor wrong to be found; None: none is
    unwanted: np.ndarray | None = None  # (N,) bool, of truth: wrong to be found, as cars among people; None: none is
