"""Tracking on drawn shapes whose ids are known: IDF1 and HOTA of every tracker, and what tracking costs beside detecting.

    maskrcnn demo --out demo                    # trains a model on still images of such shapes
    python bench/track_shapes.py --model demo/run --out frames --train 800       # and on single frames of other such videos
    python bench/track_shapes.py --model frames/run --out shapes
    python bench/track_shapes.py --model nuclei --video cells/ --truth truth/ --out cells      # any video of known truth

It draws a video of 300 frames in which shapes cross, hide each other, leave the image and come back, and writes it with its
truth (`shapes.mp4`, `truth.txt` in MOTS format) and one folder of results a tracker. A shape that comes back keeps its id in
the truth; while less than a third of it can be seen it is ignored: neither to be found, nor wrong to be found. The same seed
gives the same video.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

import maskrcnn
from maskrcnn.annotations.tracks import MOTS_IGNORE, read_tracks
from maskrcnn.data import shapes
from maskrcnn.geometry.rle import mask_to_rle, rle_region, rle_to_json
from maskrcnn.images.video import open_video
from maskrcnn.inference.scoring import evaluate_tracks
from maskrcnn.inference.whole import detect
from maskrcnn.metrics.tracks import evaluate_tracks as evaluate_objects
from maskrcnn.structures import Detections, TrackedObjects
from maskrcnn.tracking.tracker import TRACKERS, Tracker
from maskrcnn.verbs.track import track_files

SIZE = (160, 256)  # of a frame, (height, width)
NUM_FRAMES = 300
NUM_SHAPES = 5
RATE = 25
IGNORED = 10_000  # the id of what is ignored, in MOTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, default=Path("shapes"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lost", type=int, default=3 * RATE, help="frames for which a shape is remembered; three seconds")
    parser.add_argument("--video", type=Path, help="not drawn shapes, but this")
    parser.add_argument("--truth", type=Path, help="its tracks, as maskrcnn evaluate --tracks reads them")
    parser.add_argument("--cost", action="store_true", help="only the cost of tracking, beside detecting")
    parser.add_argument("--trackers", nargs="*", default=list(TRACKERS))
    parser.add_argument("--train", type=int, metavar="FRAMES", help="train the model further on so many frames, and stop")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    if arguments.train:
        train_on_frames(arguments.model, arguments.out, num_frames=arguments.train, epochs=arguments.epochs)
        return
    model = maskrcnn.load_model(arguments.model)
    if arguments.video:
        video, truth = arguments.video, arguments.truth
    else:
        video, truth = make_video(arguments.out, seed=arguments.seed)
        print(f"{NUM_FRAMES} frames of {SIZE[1]}×{SIZE[0]}, {NUM_SHAPES} shapes, seed {arguments.seed}")
    for name in arguments.trackers if not arguments.cost else ():
        folder = arguments.out / name
        track_files(model, video, folder, tracker=name, lost=arguments.lost)
        scores = evaluate_tracks(truth, folder)
        numbers = "  ".join(f"{key} {scores[key]:.3f}" for key in ("IDF1", "HOTA", "AssA", "DetA", "MOTA", "sMOTSA"))
        print(f"{name:10s} {numbers}  switches {scores['switches']}  tracks {scores['tracks']}/{scores['tracks_found']}")
    if not arguments.cost:
        print_association(video, truth, arguments.trackers, lost=arguments.lost)
    print_cost(model, video, arguments.trackers)


def print_association(video: Path, truth: Path, names: list[str], *, lost: int) -> None:
    """Scores of tracks made of the truth's own masks: what a tracker alone reaches, whatever the model."""
    ((name, true),) = read_tracks(truth).items()
    nothing = TrackedObjects(np.zeros(0, int), np.zeros((0, 4), np.float32), np.zeros(0, int), [])
    for tracker in names:
        follow, result = Tracker(tracker, lost=lost), {}
        for frame in open_video(video).frames:
            objects = true.get(frame.number, nothing)
            rows = [row for row, label in enumerate(objects.labels) if label != MOTS_IGNORE]
            masks = [rle_region(objects.rles[row], objects.boxes[row].astype(int).tolist())[0] for row in rows]
            detections = Detections(
                boxes=objects.boxes[rows],
                scores=np.ones(len(rows), np.float32),
                labels=objects.labels[rows].astype(np.int32),
                small_masks=np.zeros((len(rows), 0, 0), np.float32),
                size=frame.image.shape[:2],
                class_names=[str(label) for label in range(MOTS_IGNORE)],
                bitmaps=masks,
                corners=objects.boxes[rows, :2].astype(int),
            )
            found = follow.update(detections, frame.image)
            result[frame.number] = TrackedObjects(found.track_ids, found.boxes, found.labels.astype(int), found.rle())
        scores = evaluate_objects({name: true}, {name: result})
        numbers = "  ".join(f"{key} {scores[key]:.3f}" for key in ("IDF1", "HOTA", "AssA"))
        print(f"{tracker:10s} on the truth's masks: {numbers}  switches {scores['switches']}")


def print_cost(model: maskrcnn.MaskRCNN, video: Path, names: list[str], *, num_frames: int = 120) -> None:
    """Median seconds of a frame: detecting alone, and each tracker's on the same detections, in one run."""
    trackers = {name: Tracker(name) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in ("detect", *names)}
    for frame in open_video(video).frames:
        if frame.number == num_frames:
            break
        start = time.perf_counter()
        (detections,) = detect(model, [frame.image], score=trackers[names[0]].weakest)
        spent["detect"].append(time.perf_counter() - start)
        for name, tracker in trackers.items():
            start = time.perf_counter()
            tracker.update(detections, frame.image)
            spent[name].append(time.perf_counter() - start)
    alone = statistics.median(spent["detect"])
    print(f"detect alone: {alone * 1000:.1f} ms a frame, {1 / alone:.1f} frames/s (median of {len(spent[names[0]])})")
    for name in names:
        cost = statistics.median(spent[name])
        print(f"{name:10s} {cost * 1000:6.2f} ms a frame, {100 * cost / alone:.1f} % of detecting")


def make_video(folder: Path, *, seed: int) -> tuple[Path, Path]:
    """Draws the video and its truth; paths of both."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    with av.open(str(folder / "shapes.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.options = {"crf": "12"}
        for index, (image, found) in enumerate(_scene(seed, range(NUM_FRAMES))):
            for number, label, mask in found:
                counts = rle_to_json(mask_to_rle(mask))["counts"]
                name, category = (IGNORED, MOTS_IGNORE) if label is None else (number, shapes.CATEGORIES[label].id)
                lines.append(f"{index + 1} {name} {category} {SIZE[0]} {SIZE[1]} {counts}\n")
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (folder / "truth.txt").write_text("".join(lines))
    return folder / "shapes.mp4", folder / "truth.txt"


def train_on_frames(start: str, out: Path, *, num_frames: int, epochs: int) -> None:
    """Trains a model further on single frames, each of a video of its own that is shown nowhere else."""
    for name, first, count in (("train", 1_000_000, num_frames), ("val", 2_000_000, 40)):
        (out / name).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for seed in range(first, first + count):
            ((image, found),) = _scene(seed, [np.random.default_rng(seed).integers(NUM_FRAMES)])
            Image.fromarray(image).save(out / name / f"{seed}.png")
            images.append({"id": seed, "file_name": f"{seed}.png", "height": SIZE[0], "width": SIZE[1]})
            annotations += [
                shapes._annotation(len(annotations) + k, seed, label, mask)
                for k, (_, label, mask) in enumerate(found)
                if label is not None
            ]
        categories = [{"id": category.id, "name": category.name} for category in shapes.CATEGORIES]
        (out / f"{name}.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    options = {"image_size": 128, "batch_size": 4, "learning_rate": 1e-3}
    maskrcnn.train(out / "train.json", out / "val.json", out / "run", init=start, epochs=epochs, **options)


def _scene(seed: int, indices: Iterable[int]) -> Iterator[tuple[np.ndarray, list[tuple[int, int | None, np.ndarray]]]]:
    """Frames of a seed's video, each with number, label and mask of what can be seen in it; no label where that is little."""
    rng = np.random.default_rng(seed)
    ground = shapes._draw_ground(rng, SIZE)
    actors = [_actor(rng, number) for number in range(NUM_SHAPES)]
    for index in indices:
        image, found = ground.copy(), []
        hidden = np.zeros(SIZE, bool)
        coverages = [_coverage(actor, index) for actor in actors]
        for number, (actor, coverage) in enumerate(zip(actors, coverages), start=1):  # from the front to the back
            whole = coverage >= 0.5
            seen = whole & ~hidden
            hidden |= whole
            if seen.any():
                enough = seen.sum() >= shapes.LEAST_VISIBLE * actor["area"]
                found.append((number, actor["label"] if enough else None, seen))
        for actor, coverage in reversed(list(zip(actors, coverages))):
            image += coverage[:, :, None] * (actor["paint"] - image)
        image += rng.normal(0, 4, image.shape)
        yield np.clip(image, 0, 255).astype(np.uint8), found


def _actor(rng: np.random.Generator, number: int) -> dict:
    """A shape that swings to and fro across the image, each in its own direction and time; the first two also leave it."""
    height, width = SIZE
    radius = rng.uniform(0.15, 0.2) * height
    reach = np.array([width, height]) * (0.62 if number < 2 else 0.36)  # around the middle
    speed = rng.uniform(0.6, 1.0, 2) * 2 * np.pi / 220  # radians a frame: at its fastest about 2 pixels
    return {
        "label": number % 3,
        "radius": radius,
        "area": np.pi * radius**2,
        "middle": np.array([width, height]) / 2 + rng.uniform(-0.08, 0.08, 2) * SIZE[0],
        "reach": reach * np.array([1.0, 0.9 if number >= 2 else 0.5]),
        "speed": speed * rng.choice([-1, 1], 2),
        "phase": rng.uniform(0, 2 * np.pi, 2),
        "turn": rng.uniform(0, 2 * np.pi),
        "spin": rng.uniform(-0.02, 0.02),
        "paint": rng.uniform(20, 235, 3).astype(np.float32),
    }


def _coverage(actor: dict, index: int) -> np.ndarray:
    """(H, W) in [0, 1]: what part of each pixel the shape covers in this frame."""
    height, width = SIZE
    center = actor["middle"] + actor["reach"] * np.sin(actor["phase"] + actor["speed"] * index)
    corners = (64, 4, 3)[actor["label"]]
    angles = actor["turn"] + actor["spin"] * index + 2 * np.pi * np.arange(corners) / corners
    reach = actor["radius"] * (1.0, 1.2, 1.35)[actor["label"]]  # about equal areas, as in maskrcnn.data.shapes
    points = center + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    fine = np.zeros((height * shapes.FINER, width * shapes.FINER), np.uint8)
    cv2.fillPoly(fine, [np.round(points * shapes.FINER - 0.5).astype(np.int32)], 255)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


if __name__ == "__main__":
    main()
