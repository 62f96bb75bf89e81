"""The overlay video: every frame with its masks, the objects' ids in colors that stay, and their trails."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.atomic import part_of
from maskrcnn.results.draw import draw_tracks
from maskrcnn.structures import Detections, VideoFrame

TRAIL = 30  # frames
CODECS = {  # encoders of FFmpeg for each, the best first
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "h264": ("libx264", "libopenh264", "h264_videotoolbox"),
    "mpeg4": ("mpeg4",),
}
ENCODERS = ("libsvtav1", "libvpx-vp9", "libopenh264", "h264_videotoolbox", "mpeg4")  # unasked: none under the GPL, as x264 is
OPTIONS = {
    "libsvtav1": {"preset": "9", "crf": "30"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "28", "b": "0"},
    "libx264": {"preset": "veryfast", "crf": "20"},
}
LEAST_SIDE = {"libsvtav1": 16}  # pixels
TICKS = 60_000  # a second, in which most frame rates come out even; MPEG-4 takes up to 65,535
BITS = 0.15  # a pixel, for encoders that do not see to the quality themselves


class OverlayWriter:
    """Writes an MP4 frame by frame. Each frame is shown at its own time, so a variable rate stays one.

    Args:
        path: the file; it is there when the writer closes, if there was a frame.
        rate: frames a second, on average.
        codec: one of `CODECS`; None: the first of `ENCODERS` that the build has.

    Raises:
        ValueError: another codec, or one that the build has no encoder for.
        ImportError: PyAV is not installed.
    """

    def __init__(self, path: Path, *, rate: float, codec: str | None = None) -> None:
        self._encoders = find_encoders(codec)
        self._av = extras.load("av", extra="video", why="Overlay videos need av (PyAV)")
        self._path, self._part = path, part_of(path)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._container: Any = None
        self._stream: Any = None
        self._last = -1
        self._trails: dict[int, deque[tuple[float, float]]] = {}

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        assert detections.track_ids is not None
        ids = [int(number) for number in detections.track_ids]
        for number, (left, top, right, bottom) in zip(ids, detections.boxes.tolist()):
            self._trails.setdefault(number, deque(maxlen=TRAIL)).append(((left + right) / 2, (top + bottom) / 2))
        for number in set(self._trails) - set(ids):  # what is not seen fades from its tail
            self._trails[number].popleft()
            if not self._trails[number]:
                del self._trails[number]
        self._encode(draw_tracks(frame.image, detections, trails=self._trails), frame.time)

    def _encode(self, image: np.ndarray, seconds: float) -> None:
        height, width = image.shape[:2]
        if self._container is None:
            self._open(width + width % 2, height + height % 2)
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # H.264 halves the colors' resolution
        encoded = self._av.VideoFrame.from_ndarray(even, format="rgb24")
        self._last = max(self._last + 1, round(seconds * TICKS))  # times that stand still or go back would be refused
        encoded.pts, encoded.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(encoded))

    def _open(self, width: int, height: int) -> None:
        fitting = [name for name in self._encoders if min(width, height) >= LEAST_SIDE.get(name, 1)]
        encoder = (fitting or self._encoders)[0]
        self._container = self._av.open(os.fspath(self._part), "w", format="mp4")
        self._stream = self._container.add_stream(encoder, rate=self._rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.max_b_frames = 0  # MP4 adds up the times of decoding, which then are those of showing
        if encoder in OPTIONS:
            self._stream.options = OPTIONS[encoder]
        else:
            self._stream.bit_rate = round(BITS * width * height * float(self._rate))
        with _quiet_svt():
            self._stream.codec_context.open()

    def close(self) -> None:
        if self._container is None:
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        os.replace(self._part, self._path)


def find_encoders(codec: str | None) -> list[str]:
    """The encoders of a codec that the installed build of FFmpeg has, the best first.

    Args:
        codec: one of `CODECS`; None: any of `ENCODERS`.

    Raises:
        ValueError: another codec, or none of its encoders is there.
        ImportError: PyAV is not installed.
    """
    if codec is not None and codec not in CODECS:
        raise ValueError(f"An overlay's codec is {', '.join(CODECS)}; received {codec!r}.")
    av = extras.load("av", extra="video", why="Overlay videos need av (PyAV)")
    names = ENCODERS if codec is None else CODECS[codec]
    found = [name for name in names if name in av.codecs_available]
    if not found:
        raise ValueError(f"This build of FFmpeg has none of {', '.join(names)}; choose another codec, or leave out overlay.")
    return found


@contextmanager
def _quiet_svt() -> Iterator[None]:
    """SVT-AV1 writes its settings to stderr when it opens, unless this variable says that errors alone count."""
    before = os.environ.get("SVT_LOG")
    os.environ["SVT_LOG"] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SVT_LOG"]
