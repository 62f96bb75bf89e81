"""Video files opened with PyAV, frame by frame."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.images.files import MAX_PIXELS
from maskrcnn.images.values import to_channels
from maskrcnn.structures import VideoFrame

IMAGE_RATE = 10.0  # frames a second of images, which do not say theirs
# FFmpeg's names of what holds video itself: play lists (hls, concat, dash) name other files and addresses, and are not opened.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,ogg,asf,gif,apng,dv,mxf,nut,rm,"
    "wtv,vc1,mjpeg,yuv4mpegpipe"
)
NO_INDEX = "it has no index: the recording was not ended, or the file was cut"


@dataclass(frozen=True, eq=False)
class Video:
    """A video that is open.

    Attributes:
        name: of its file or folder, without suffix.
        rate: frames a second of what `frames` gives, on average.
        num_frames: how many `frames` gives; None where that is known only at the end.
        frames: each once. Raises ValueError, one line, at what cannot be read; the frames before it have been given.
    """

    name: str
    rate: float
    num_frames: int | None
    frames: Iterator[VideoFrame]


def open_file_decoder(path: Path, every: int) -> Video:
    av = extras.load("av", extra="video", why="Video files need av (PyAV)")
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except av.FFmpegError as error:
        cut = isinstance(error, av.InvalidDataError) and _is_mp4(path)
        reason = "there is no video in it" if error.errno == errno.EINVAL else _reason(error)  # a format that is not listed
        raise ValueError(f"Cannot read {path}: {NO_INDEX if cut else reason}.") from None
    try:
        if not container.streams.video:
            cut = container.duration is None and _is_mp4(path)
            raise ValueError(f"Cannot read {path}: {NO_INDEX if cut else 'there is no video in it'}.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError(f"Cannot read {path}: this build of FFmpeg has no decoder for its codec.")
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise ValueError(f"Cannot read {path}: a frame of it has more than {MAX_PIXELS // 10**6} million pixels.")
        stream.thread_type = "SLICE"  # threads by frame lose, at a packet that is broken, whole frames that they hold back
        rate = float(stream.average_rate or stream.guessed_rate or IMAGE_RATE)
        num_frames = -(-stream.frames // every) if stream.frames else None
    except BaseException:
        container.close()
        raise
    return Video(path.stem, rate / every, num_frames, _Decoder(av, container, stream, path, rate).frames(every))


def _is_mp4(path: Path) -> bool:
    """Whether a file begins as MP4 and MOV do (ISO/IEC 14496-12, section 4.3). Their index may be last."""
    with open(path, "rb") as file:
        return file.read(8)[4:] == b"ftyp"


class _Decoder:
    """Reads a video file to its end, and knows what was missing. Damaged frames are left out: what can be had comes first.

    Before the first whole frame nothing counts as damaged: recordings that were cut begin with frames that refer to lost ones.
    """

    def __init__(self, av: Any, container: Any, stream: Any, path: Path, rate: float) -> None:
        self._av, self._container, self._stream, self._path, self._rate = av, container, stream, path, rate
        self._is_avi = container.format.name == "avi"
        self._waiting: deque[float] = deque()  # AVI: seconds of the packets whose images are still to come
        self._index = 0  # of the next frame, damaged ones counted
        self._whole = 0  # frames that were given
        self._num_packets = 0
        self._start, self._last, self._end = 0.0, 0.0, 0.0  # seconds: first frame, last frame, and all that was read
        self._last_index = 0  # of the last frame
        self._lost: list[int | None] = []  # times of packets that gave no frame; frames before them may still be to come
        self._damaged: list[int] = []  # numbers of frames that are missing
        self._reason = ""

    def frames(self, every: int) -> Iterator[VideoFrame]:
        """Frames, upright, with their own times; at the end a ValueError for what was missing."""
        with self._container:
            try:
                for packet in self._container.demux():
                    for decoded in self._decode(packet):
                        self._pass_lost(decoded)
                        if decoded.is_corrupt:
                            self._miss(1)
                            continue
                        self._last, self._last_index = self._time_of(decoded), self._index
                        self._start = self._start if self._whole else self._last
                        self._whole += 1
                        if self._index % every == 0:
                            image = np.rot90(_pixels(decoded), decoded.rotation // 90)  # counter-clockwise
                            yield VideoFrame(self._index, self._last - self._start, np.ascontiguousarray(image))
                        self._index += 1
            except self._av.FFmpegError as error:
                raise ValueError(
                    f"{self._path} breaks off after {self._whole} frames: {_reason(error)}. They are done."
                ) from None
            self._check_end()

    def _time_of(self, decoded: Any) -> float:
        """Seconds. Images come in order, so one without a time, or whose time goes back, is shown by the rate.

        AVI times packets in the order in which they are decoded, and what FFmpeg makes of it is wrong where frames refer to
        later ones. The k-th image that comes is shown at the k-th packet's time.
        """
        seconds = self._waiting.popleft() if self._waiting else decoded.time
        if seconds is None or (self._whole and seconds < self._last):
            return self._last + (self._index - self._last_index) / self._rate
        return seconds

    def _decode(self, packet: Any) -> list[Any]:
        stamp = packet.dts if self._is_avi else packet.pts
        if stamp is not None and packet.time_base:  # of sound too: what lasts longest says how far the file was read
            self._end = max(self._end, float((stamp + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not self._stream:
            return []
        self._num_packets += packet.size > 0
        if self._is_avi and packet.size > 0 and stamp is not None:
            self._waiting.append(float(stamp * packet.time_base))
        try:
            return list(packet.decode())
        except self._av.FFmpegError as error:
            self._reason = _reason(error)
            self._lost.append(packet.pts)
            return []

    def _pass_lost(self, image: Any) -> None:
        """Counts lost packets whose time is over: frames come in another order than their packets."""
        waiting = [pts for pts in self._lost if pts is not None and image.pts is not None and pts > image.pts]
        self._miss(len(self._lost) - len(waiting))
        self._lost = [*waiting]

    def _miss(self, count: int) -> None:
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()
        if self._whole:
            self._damaged += [self._index] * count
            self._index += count

    def _check_end(self) -> None:
        path, whole, stream = self._path, self._whole, self._stream
        why = f" ({self._reason})" if self._reason else ""
        if whole == 0:
            raise ValueError(f"Cannot read {path}: it holds no whole frame{why}.")
        # An edit list leaves out frames on purpose, hence packets. AVI counts ticks, of which some have no frame.
        if self._num_packets < stream.frames and not self._is_avi:
            raise ValueError(f"{path} breaks off after {whole} frames of {stream.frames}. They are done.")
        if self._container.format.name in ("avi", "matroska,webm"):  # their headers say how long they are; FFmpeg may guess
            length = (self._container.duration or 0) / self._av.time_base
            if self._is_avi:  # FFmpeg fits that length to the bytes that are there, and to what the sound's header says
                length = stream.frames / self._rate
            usual = (self._last - self._start) / max(whole - 1, 1)  # seconds that a frame is shown
            if length - max(self._end, self._last + usual) > usual / 2:
                raise ValueError(f"{path} breaks off after {whole} frames, {self._end:.2f} of {length:.2f} s. They are done.")
        if self._damaged or self._lost:
            first = min([*self._damaged, self._index])
            raise ValueError(f"{path} is damaged from frame {first} on{why}. The frames that are whole are done.")


def _pixels(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Gray and RGB of more than 8 bits are a measuring camera's: stretched as such images are.

    YUV of more, HDR say, is made for screens and fills its range.
    """
    parts = image.format.components
    if max(part.bits for part in parts) > 8 and (len(parts) < 3 or image.format.is_rgb):
        return to_channels(image.to_ndarray(format="gray16le" if len(parts) < 3 else "rgb48le"))
    return image.to_ndarray(format="rgb24")


def _reason(error: Any) -> str:
    return " ".join(str(error.strerror or error).split()).rstrip(".")
