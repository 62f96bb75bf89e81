"""Frames of a video, one after the other: of a file, of images in a folder, of a camera.

Files are read with PyAV, FFmpeg's own libraries: it tells a broken frame from the end, and gives each frame its time and how
the camera was held. Only the frames that are waiting are in memory.
"""

from __future__ import annotations

import glob
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskrcnn.config.model import Scaling
from maskrcnn.images.decoder import IMAGE_RATE, Video, open_file_decoder
from maskrcnn.images.files import ALL_SUFFIXES, find_images
from maskrcnn.images.formats import is_known
from maskrcnn.images.images import count_planes, read_image, read_planes
from maskrcnn.pipeline import ahead
from maskrcnn.structures import VideoFrame

READ_AHEAD = 4  # frames that are decoded while the model works


def open_video(
    source: Any, *, every: int = 1, rate: float | None = None, channels: int = 3, scaling: Scaling = "all_channels"
) -> Video:
    """Opens whatever gives frames. Those to come are decoded in a thread, `READ_AHEAD` at most.

    Args:
        source: a file that FFmpeg reads; a folder or a glob of images, in natural order (2 before 10), or a list of them; a
            file of planes (TIFF stack, DICOM, NIfTI); the number of a camera, as int or str.
        every: only each N-th frame is given, from the first on.
        rate: frames a second of images and planes; `IMAGE_RATE` where None. Videos and cameras say their own.
        channels, scaling: of the model, for images and planes, as in `read_image`; videos are always RGB.

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
        video = open_file_decoder(Path(source), every)
    else:
        video = _open_images(source, every, rate or IMAGE_RATE, channels, scaling)
    return Video(video.name, video.rate, video.num_frames, ahead(_of_one_size(video), READ_AHEAD))


def check_source(source: Any) -> None:
    """Whether there is something to open, before a model is loaded: a file, images, or the number of a camera.

    Raises:
        ValueError: nothing is there, or no images are.
    """
    is_camera = isinstance(source, int) or str(source).isdecimal()
    if isinstance(source, (str, Path)) and not is_camera and not _is_video(str(source)):
        find_images([source])


def _is_video(source: str) -> bool:
    path = Path(source)
    named = path.name.lower().endswith(ALL_SUFFIXES) and not path.name.lower().endswith((".gif", ".apng"))
    return path.is_file() and not named and not is_known(path)  # DICOM needs no suffix


def _open_images(source: Any, every: int, rate: float, channels: int, scaling: Scaling) -> Video:
    """Images of a folder, a glob or a list; or the planes of one file."""
    if not isinstance(source, (str, Path)):
        paths = [Path(item) for item in source]
        if not paths:
            raise ValueError("A video of images needs at least one; received an empty list.")
        name = paths[0].resolve().parent.name
    elif Path(source).is_dir() or glob.has_magic(str(source)):
        paths = sorted(find_images([source]), key=lambda path: _natural(str(path)))
        name = Path(source).resolve().name if Path(source).is_dir() else paths[0].resolve().parent.name
    else:
        paths, name = find_images([source]), Path(source).name.split(".")[0]
    if len(paths) == 1:
        planes = enumerate(read_planes(paths[0], channels=channels, scaling=scaling))
        frames = (VideoFrame(number, number / rate, plane.image) for number, plane in planes if number % every == 0)
        return Video(name, rate / every, -(-count_planes(paths[0]) // every), frames)
    chosen = list(enumerate(paths))[::every]
    images = (
        VideoFrame(number, number / rate, read_image(path, channels=channels, scaling=scaling), str(path))
        for number, path in chosen
    )
    return Video(name, rate / every, len(chosen), images)


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _open_camera(number: int, every: int) -> Video:
    """OpenCV opens cameras by number on every system; FFmpeg's doors differ by system and are not in PyAV's wheels."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # each door that stays shut is several lines
    camera = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise ValueError(f"There is no camera {number}, or another program holds it.")

    def frames() -> Iterator[VideoFrame]:
        index, start = 0, time.monotonic()
        try:
            while camera.grab():
                if index % every == 0:
                    yield VideoFrame(index, time.monotonic() - start, np.ascontiguousarray(camera.retrieve()[1][:, :, ::-1]))
                index += 1
            raise ValueError(f"Camera {number} gives no more frames after {index}. They are done.")
        finally:
            camera.release()

    return Video(f"camera{number}", (camera.get(cv2.CAP_PROP_FPS) or IMAGE_RATE) / every, None, frames())


def _of_one_size(video: Video) -> Iterator[VideoFrame]:
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
