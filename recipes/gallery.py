"""The images of docs/gallery.md, or the same of your own files: results side by side, as one JPEG.

Commands (DSB holds validation images of the Data Science Bowl 2018, stage 1, CC0):
    python recipes/gallery.py photos DSB/*.png --out nuclei.jpg            # any images; --model any model
    python recipes/gallery.py stack volume.tif --images 4 --out volume.jpg # what predict reads in planes: TIFF, DICOM, NIfTI
    python recipes/gallery.py video frames/ --out video.jpg                # what maskrcnn track reads

Each prints the number of objects in each image. Nothing is written but the JPEG.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import maskrcnn
from maskrcnn.images.files import find_images
from maskrcnn.images.images import read_image
from maskrcnn.results.draw import draw_masks, draw_tracks
from maskrcnn.verbs.track import track_frames

WIDTH = 900  # pixels of the JPEG
GAP = 6  # pixels of white between images
QUALITY = 85


def of_photos(model: maskrcnn.MaskRCNN, files: list[str], score: float) -> Iterator[np.ndarray]:
    paths = find_images(files)
    for path, detections in zip(paths, maskrcnn.predict(paths, model=model, score=score), strict=True):
        print(f"{path.name}: {len(detections)} objects")
        yield draw_masks(read_image(path), detections)


def of_stack(model: maskrcnn.MaskRCNN, files: list[str], score: float, num: int) -> Iterator[np.ndarray]:
    """Planes at even distances, each found for itself: the model sees no depth."""
    planes = list(maskrcnn.read_planes(files[0]))
    for place in np.linspace(0, len(planes) - 1, min(num, len(planes))).round().astype(int).tolist():
        (detections,) = model.detect(planes[place], score=score)
        print(f"plane {planes[place].number}: {len(detections)} objects")
        yield draw_masks(planes[place].image, detections)


def of_video(model: maskrcnn.MaskRCNN, files: list[str], score: float, num: int) -> Iterator[np.ndarray]:
    """Frames at even distances; an object has the same color in each. All are kept in memory, so this is for short clips."""
    frames = list(track_frames(model, files[0] if len(files) == 1 else files, score=score))
    for place in np.linspace(0, len(frames) - 1, min(num, len(frames))).round().astype(int).tolist():
        frame, detections = frames[place]
        print(f"frame {place}: {len(detections)} objects")
        yield draw_tracks(frame.image, detections)


def sheet(images: list[np.ndarray], columns: int) -> np.ndarray:
    """Rows of images on white, each row as wide as the sheet: (H, WIDTH, 3) uint8."""
    rows: list[np.ndarray] = []
    for start in range(0, len(images), columns):
        row = images[start : start + columns]
        height = (WIDTH - GAP * (len(row) - 1)) / sum(image.shape[1] / image.shape[0] for image in row)
        canvas = np.full((round(height), WIDTH, 3), 255, np.uint8)
        left = 0.0
        for image in row:
            width = height * image.shape[1] / image.shape[0]
            part = cv2.resize(image, (round(left + width) - round(left), round(height)), interpolation=cv2.INTER_AREA)
            canvas[:, round(left) : round(left + width)] = part
            left += width + GAP
        rows += [np.full((GAP, WIDTH, 3), 255, np.uint8), canvas]
    return np.concatenate(rows[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what a model finds in several images as one JPEG.")
    parser.add_argument("kind", choices=("photos", "stack", "video"))
    parser.add_argument("files", nargs="+", help="images, folders or globs; a stack; a video or its frames")
    parser.add_argument("--model", default="nuclei", help="a run's folder, a file or a name")
    parser.add_argument("--score", type=float, default=0.5, help="least score of what is drawn")
    parser.add_argument("--images", type=int, default=4, help="of a stack or a video")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="a .jpg")
    arguments = parser.parse_args()
    model = maskrcnn.load_model(arguments.model)
    files, score, num = arguments.files, arguments.score, arguments.images
    if arguments.kind == "photos":
        drawn = of_photos(model, files, score)
    elif arguments.kind == "stack":
        drawn = of_stack(model, files, score, num)
    else:
        drawn = of_video(model, files, score, num)
    Image.fromarray(sheet(list(drawn), arguments.columns)).save(arguments.out, quality=QUALITY)


if __name__ == "__main__":
    main()
