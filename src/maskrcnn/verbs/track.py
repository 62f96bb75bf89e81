"""Track: from a video to detections whose ids stay with their objects, frame by frame, and to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from maskrcnn.images.decoder import Video
from maskrcnn.images.video import check_source, open_video
from maskrcnn.inference.whole import detect, least_scores
from maskrcnn.locks import owned
from maskrcnn.results.tracks.writer import DEFAULT_FORMATS, TrackWriter, check_track_formats
from maskrcnn.structures import Detections, Detector, VideoFrame
from maskrcnn.tracking.tracker import Tracker


@dataclass(frozen=True)
class TrackConfig:
    """How objects are followed; see the arguments of `track`."""

    tracker: str = "mask"
    every: int = 1
    score: float | Literal["auto"] = 0.5
    lost: int = 30
    batch_size: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is at least 1; received {self.batch_size}.")


def track(
    model: Detector,
    source: Any,
    *,
    tracker: str = "mask",
    every: int = 1,
    score: float | Literal["auto"] = 0.5,
    lost: int = 30,
    batch_size: int = 1,
    rate: float | None = None,
) -> Iterator[Detections]:
    """Follows the objects of a video. Frames are read while the model works, and none is kept.

    Example:
        ```python
        for detections in maskrcnn.track(model, "street.mp4"):
            print(detections.track_ids, detections.names)
        ```

    Args:
        model: a `MaskRCNN`, or an exported model on its engine.
        source: a video file, a folder or a glob of images, a list of them, or the number of a camera; see
            `maskrcnn.images.video.open_video`.
        tracker: "mask" associates masks; "bytetrack", "botsort", "ocsort" and "sort" associate boxes (library trackers).
            Objects of different classes never share a track.
        every: process only every N-th frame.
        score: the lowest score that starts a track; `"auto"`: each class's best threshold. Weaker detections continue a
            track.
        lost: processed frames for which an object that is not seen is remembered.
        batch_size: frames processed by the model together.
        rate: frames per second of image sequences, which do not store it.

    Yields:
        For each frame the `Detections` that are part of a track, with `track_ids`, which start at 1.

    Raises:
        ValueError: for a source that is no video, or `"auto"` where the model holds no best scores. At the end, where part of
            the source could not be read: one line; the frames before have been given.
        ImportError: what reads the source, or the tracker, is not installed.
    """
    options: dict[str, Any] = {"score": score, "lost": lost, "batch_size": batch_size, "rate": rate}
    frames = track_frames(model, source, tracker=tracker, every=every, **options)
    return (detections for _, detections in frames)


def track_frames(model: Detector, source: Any, **settings: Any) -> Iterator[tuple[VideoFrame, Detections]]:
    """The same as `track`, each frame beside its detections. Settings are fields of `TrackConfig`."""
    config = TrackConfig(**settings)
    follow = _tracker(model, config)
    return _track(model, _open(model, source, config).frames, follow, config.batch_size)


def _tracker(model: Detector, config: TrackConfig) -> Tracker:
    least = least_scores(config.score, model.config)
    assert least is not None
    return Tracker(config.tracker, score=least, lost=config.lost)


def _open(model: Detector, source: Any, config: TrackConfig) -> Video:
    image = model.config.image
    return open_video(source, every=config.every, rate=config.rate, channels=image.channels, scaling=image.scaling)


def _track(
    model: Detector, frames: Iterator[VideoFrame], follow: Tracker, batch_size: int
) -> Iterator[tuple[VideoFrame, Detections]]:
    for batch in _batches(frames, batch_size):
        found = detect(model, [frame.image for frame in batch], batch_size=batch_size, score=follow.weakest)
        for frame, detections in zip(batch, found, strict=True):
            yield frame, follow.update(detections, frame.image)


def _batches(frames: Iterator[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    """Frames in batches; what was read before an error comes before the error."""
    batch: list[VideoFrame] = []
    broken = None
    with closing(frames):  # type: ignore[type-var]
        try:
            for frame in frames:
                batch.append(frame)
                if len(batch) == size:
                    yield batch
                    batch = []
        except ValueError as error:
            broken = error
        if batch:
            yield batch
        if broken is not None:
            raise broken


def track_files(
    model: Detector,
    source: Any,
    out: str | os.PathLike[str],
    *,
    save: Sequence[str] = DEFAULT_FORMATS,
    codec: str | None = None,
    log: Callable[[str], None] = print,
    on_start: Callable[[int | None], None] | None = None,
    on_frame: Callable[[VideoFrame, Detections], None] | None = None,
    **settings: Any,
) -> int:
    """Follows the objects of a video and writes what was found into a folder.

    However it ends, by an error or by Ctrl-C too, the files are whole up to the last frame that was done. One process at a
    time has the folder.

    Args:
        model, source: as in `track`.
        out: folder, made where it is not there.
        save: what is written, some of `maskrcnn.results.tracks.writer.TRACK_FORMATS`.
        codec: of the overlay, see `OverlayWriter`.
        log: told where an earlier process left the folder without having finished.
        on_start: called with the number of frames to come, None where it is not known.
        on_frame: called after each frame.
        **settings: fields of `TrackConfig`.

    Returns:
        The number of frames.

    Raises:
        ValueError, ImportError: as `track`, and for what cannot be saved so.
        FolderInUseError: another process writes into the folder.
        KeyboardInterrupt: it was stopped; its note says what is kept.
    """
    check_tracking(source, save=save, codec=codec)
    config = TrackConfig(**settings)
    follow = _tracker(model, config)
    video = _open(model, source, config)
    if on_start is not None:
        on_start(video.num_frames)
    count = 0
    try:
        with (
            owned(out, "tracking", log),
            TrackWriter(out, model.config.categories, rate=video.rate, name=video.name, save=save, codec=codec) as writer,
            closing(_track(model, video.frames, follow, config.batch_size)) as frames,  # type: ignore[type-var]
        ):
            for frame, detections in frames:
                writer.write(frame, detections)
                count += 1
                if on_frame is not None:
                    on_frame(frame, detections)
    except KeyboardInterrupt as stop:
        if count:
            stop.add_note(f"Stopped after {count} frames; the results up to there are in {out}.")
        raise
    return count


def check_tracking(source: Any, *, save: Sequence[str] = DEFAULT_FORMATS, codec: str | None = None) -> None:
    """Looks at what `track_files` is given, before a model is loaded. The arguments are those of it.

    Raises:
        ValueError: a source that is not there, or what cannot be saved so.
        ImportError: what writes a format is not installed.
    """
    check_track_formats(save, codec)
    check_source(source)
