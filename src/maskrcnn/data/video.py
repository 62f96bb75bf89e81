"""Frames of a video, one after the other: of a file, of pictures in a folder, of a camera.

Files are read with PyAV, FFmpeg's own libraries: it tells a broken frame from the end, and gives each frame its time and how
the camera was held. Only the frames that are waiting are in memory.
"""

from __future__ import annotations

import glob
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskrcnn import extras
from maskrcnn.config import Scaling
from maskrcnn.data.images import ALL_SUFFIXES, find_pictures, kind_of, read_image, to_picture
from maskrcnn.data.planes import count_planes, read_planes
from maskrcnn.pipeline import ahead
from maskrcnn.structures import Frame

READ_AHEAD = 4  # frames that are decoded while the model works
PICTURE_RATE = 10.0  # frames a second of pictures, which do not say theirs
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
    frames: Iterator[Frame]


def open_video(
    source: Any, *, every: int = 1, rate: float | None = None, channels: int = 3, scaling: Scaling = "all_channels"
) -> Video:
    """Opens whatever gives frames. Those to come are decoded in a thread, `READ_AHEAD` at most.

    Args:
        source: a file that FFmpeg reads; a folder or a glob of pictures, in natural order (2 before 10), or a list of them; a
            file of planes (TIFF stack, DICOM, NIfTI); the number of a camera, as int or str.
        every: only each N-th frame is given, from the first on.
        rate: frames a second of pictures and planes; `PICTURE_RATE` where None. Videos and cameras say their own.
        channels, scaling: of the model, for pictures and planes, as in `read_image`; videos are always RGB.

    Raises:
        ValueError: for a source that is not there, is no video, or that cannot be decoded.
        ImportError: for a video file, where PyAV is not installed.
    """
    if every < 1:
        raise ValueError(f"every is at least 1, each N-th frame; received {every}.")
    if rate is not None and not rate > 0:
        raise ValueError(f"rate is above 0, frames a second; received {rate}.")
    if isinstance(source, int) or (str(source).isdecimal() and not Path(source).exists()):
        video = _open_camera(int(source), every)
    elif isinstance(source, (str, Path)) and _is_video(str(source)):
        video = _open_file(Path(source), every)
    else:
        video = _open_pictures(source, every, rate or PICTURE_RATE, channels, scaling)
    return Video(video.name, video.rate, video.num_frames, ahead(_of_one_size(video), READ_AHEAD))


def _is_video(source: str) -> bool:
    path = Path(source)
    named = path.name.lower().endswith(ALL_SUFFIXES)
    return path.is_file() and not named and kind_of(path) == "picture"  # DICOM needs no suffix


def _open_pictures(source: Any, every: int, rate: float, channels: int, scaling: Scaling) -> Video:
    """Pictures of a folder, a glob or a list; or the planes of one file."""
    if not isinstance(source, (str, Path)):
        paths = [Path(item) for item in source]
        if not paths:
            raise ValueError("A video of pictures needs at least one; received an empty list.")
        name = paths[0].resolve().parent.name
    elif Path(source).is_dir() or glob.has_magic(str(source)):
        paths = sorted(find_pictures([source]), key=lambda path: _natural(str(path)))
        name = Path(source).resolve().name if Path(source).is_dir() else paths[0].resolve().parent.name
    else:
        paths, name = find_pictures([source]), Path(source).name.split(".")[0]
    if len(paths) == 1:
        planes = enumerate(read_planes(paths[0], channels=channels, scaling=scaling))
        frames = (Frame(number, number / rate, plane.image) for number, plane in planes if number % every == 0)
        return Video(name, rate / every, -(-count_planes(paths[0]) // every), frames)
    chosen = list(enumerate(paths))[::every]
    pictures = (
        Frame(number, number / rate, read_image(path, channels=channels, scaling=scaling), str(path)) for number, path in chosen
    )
    return Video(name, rate / every, len(chosen), pictures)


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _open_file(path: Path, every: int) -> Video:
    av = extras.load("av", extra="video", why="Video files need av (PyAV)")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        cut = isinstance(error, av.InvalidDataError) and _is_mp4(path)
        raise ValueError(f"Cannot read {path}: {NO_INDEX if cut else _reason(error)}.") from None
    try:
        if not container.streams.video:
            cut = container.duration is None and _is_mp4(path)
            raise ValueError(f"Cannot read {path}: {NO_INDEX if cut else 'there is no video in it'}.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError(f"Cannot read {path}: this build of FFmpeg has no decoder for its codec.")
        stream.thread_type = "SLICE"  # threads by frame lose, at a packet that is broken, whole frames that they hold back
        rate = float(stream.average_rate or stream.guessed_rate or PICTURE_RATE)
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
        self._waiting: deque[float] = deque()  # AVI: seconds of the packets whose pictures are still to come
        self._index = 0  # of the next frame, damaged ones counted
        self._whole = 0  # frames that were given
        self._num_packets = 0
        self._start, self._last, self._end = 0.0, 0.0, 0.0  # seconds: first frame, last frame, and all that was read
        self._last_index = 0  # of the last frame
        self._lost: list[int | None] = []  # times of packets that gave no frame; frames before them may still be to come
        self._damaged: list[int] = []  # numbers of frames that are missing
        self._reason = ""

    def frames(self, every: int) -> Iterator[Frame]:
        """Frames, upright, with their own times; at the end a ValueError for what was missing."""
        with self._container:
            try:
                for packet in self._container.demux():
                    for picture in self._decode(packet):
                        self._pass_lost(picture)
                        if picture.is_corrupt:
                            self._miss(1)
                            continue
                        self._last, self._last_index = self._time_of(picture), self._index
                        self._start = self._start if self._whole else self._last
                        self._whole += 1
                        if self._index % every == 0:
                            image = np.rot90(_pixels(picture), picture.rotation // 90)  # counter-clockwise
                            yield Frame(self._index, self._last - self._start, np.ascontiguousarray(image))
                        self._index += 1
            except self._av.FFmpegError as error:
                raise ValueError(
                    f"{self._path} breaks off after {self._whole} frames: {_reason(error)}. They are done."
                ) from None
            self._check_end()

    def _time_of(self, picture: Any) -> float:
        """Seconds. Pictures come in order, so one without a time, or whose time goes back, is shown by the rate.

        AVI times packets in the order in which they are decoded, and what FFmpeg makes of it is wrong where frames refer to
        later ones. The k-th picture that comes is shown at the k-th packet's time.
        """
        seconds = self._waiting.popleft() if self._waiting else picture.time
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

    def _pass_lost(self, picture: Any) -> None:
        """Counts lost packets whose time is over: frames come in another order than their packets."""
        waiting = [pts for pts in self._lost if pts is not None and picture.pts is not None and pts > picture.pts]
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


def _pixels(picture: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Grey and RGB of more than 8 bits are a measuring camera's: stretched as such pictures are.

    YUV of more, HDR say, is made for screens and fills its range.
    """
    parts = picture.format.components
    if max(part.bits for part in parts) > 8 and (len(parts) < 3 or picture.format.is_rgb):
        return to_picture(picture.to_ndarray(format="gray16le" if len(parts) < 3 else "rgb48le"))
    return picture.to_ndarray(format="rgb24")


def _reason(error: Any) -> str:
    return " ".join(str(error.strerror or error).split()).rstrip(".")


def _open_camera(number: int, every: int) -> Video:
    """OpenCV opens cameras by number on every system; FFmpeg's doors differ by system and are not in PyAV's wheels."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # each door that stays shut is several lines
    camera = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise ValueError(f"There is no camera {number}, or another program holds it.")

    def frames() -> Iterator[Frame]:
        index, start = 0, time.monotonic()
        try:
            while camera.grab():
                if index % every == 0:
                    yield Frame(index, time.monotonic() - start, np.ascontiguousarray(camera.retrieve()[1][:, :, ::-1]))
                index += 1
            raise ValueError(f"Camera {number} gives no more frames after {index}. They are done.")
        finally:
            camera.release()

    return Video(f"camera{number}", (camera.get(cv2.CAP_PROP_FPS) or PICTURE_RATE) / every, None, frames())


def _of_one_size(video: Video) -> Iterator[Frame]:
    size = None
    for count, frame in enumerate(video.frames):
        size = size or frame.image.shape
        if frame.image.shape != size:
            (old_height, old_width), (height, width) = size[:2], frame.image.shape[:2]
            raise ValueError(
                f"{frame.path or video.name} changes the video's size at frame {frame.number} from {old_width}×{old_height} to "
                f"{width}×{height}. The {count} frames before are done; track the rest as a video of its own."
            )
        yield frame
