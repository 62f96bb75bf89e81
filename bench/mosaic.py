"""A mosaic of nuclei images with known truth, found tile by tile, beside the same images found alone.

    python bench/mosaic.py ../shared/data/nuclei/val.json --out /tmp/mosaic --side 10000 --tile 256 --overlap 32

The images are packed on shelves, in random order, as they are or mirrored, as often as they find room. Between them is the
colour that the model sees around an image alone. They are what the mosaic is scored by: what was found in it is cut into its
images, each object going to the one in which most of it lies, and scored as if each had been found alone. Alone they are seen
at the tiles' scale (`--scale`, or what brings a tile to the model's short side), so that the difference is the tiling's; a
line called natural has them as `maskrcnn predict` sees each. Nuclei that an image's own border cuts look otherwise where
something lies beside it, which is the mosaic's doing: the line called rim has each image alone with that much ground around,
and what is called inner leaves such nuclei out, neither to be found nor wrong.

An object is on a seam where its box crosses a tile's border. Time is the process's own on all cores, without compilation;
memory the largest ever resident.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hotcoco import mask as coco_mask

from maskrcnn.config.fields import replace
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import cutout_rle, mask_to_rle, rle_to_box, rle_to_json, rle_to_mask
from maskrcnn.images.images import read_image
from maskrcnn.structures import Detections, Sample

MIRRORS = 2  # as it is, left and right changed
ALONE = ("alone", "rim", "natural")
GROUND = 127  # between images: 0 after the nuclei model's normalization, as the padding of a frame is


def mirrored(array: np.ndarray, mirror: int) -> np.ndarray:
    return array[:, ::-1] if mirror else array


def make(arguments: argparse.Namespace) -> None:
    """Writes mosaic.tif (tiled RGB, 16 bits with --deep), truth.json (COCO) and layout.json (where each image lies)."""
    rng = np.random.default_rng(arguments.seed)
    samples = load_dataset(arguments.data).samples
    side, gap = arguments.side, arguments.gap
    canvas = np.full((side, side, 3), GROUND, np.uint8)
    heights = np.array([sample.size[0] for sample in samples])
    shelves = np.where(heights == 512, 520, heights)  # images of about one height share a shelf
    decks: dict[int, list[int]] = {int(height): [] for height in shelves}
    layout, annotations, top, placed = [], [], 0, np.zeros(len(samples))
    while True:
        fitting = [shelf for shelf in decks if top + shelf <= side]
        if not fitting:
            break
        shelf = min(fitting, key=lambda shelf: placed[shelves == shelf].mean())  # the one that is behind
        left = 0
        while True:
            if not decks[shelf]:  # each image equally often
                decks[shelf] = rng.permutation(np.flatnonzero(shelves == shelf)).tolist()
            deck = decks[shelf]
            row = next((k for k in deck if left + samples[k].size[1] <= side), None)
            if row is None:
                break
            deck.remove(row)
            placed[row] += 1
            sample, mirror = samples[row], int(rng.integers(MIRRORS))
            height, width = sample.size
            canvas[top : top + height, left : left + width] = mirrored(read_image(sample.path), mirror)
            layout.append({"sample": row, "mirror": mirror, "left": left, "top": top, "height": height, "width": width})
            for rle in sample.rles:
                mask = mirrored(rle_to_mask(rle), mirror)
                x1, y1, x2, y2 = mask_to_box(mask).astype(int).tolist()
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": 1,
                        "category_id": 1,
                        "iscrowd": 0,
                        "area": int(mask.sum()),
                        "bbox": [left + x1, top + y1, x2 - x1, y2 - y1],
                        "segmentation": rle_to_json(cutout_rle(mask[y1:y2, x1:x2], (left + x1, top + y1), (side, side))),
                    }
                )
            left += width + gap
        top += shelf + gap
    if arguments.deep:  # a camera's narrow part of 16 bits
        canvas = (33_000 + 8 * canvas.astype(np.uint16)).astype(np.uint16)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(out / "mosaic.tif", canvas, tile=(256, 256), compression="zlib", photometric="rgb", bigtiff=True)
    image = {"id": 1, "file_name": "mosaic.tif", "height": side, "width": side}
    truth = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
    (out / "truth.json").write_text(json.dumps(truth))
    (out / "layout.json").write_text(json.dumps(layout))
    covered = sum(cell["height"] * cell["width"] for cell in layout) / side**2
    print(f"mosaic of {side} × {side} pixels: {len(layout)} images cover {covered:.1%}, {len(annotations)} nuclei")


def measured(work: Any) -> dict[str, float]:
    start, processor = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def alone(arguments: argparse.Namespace) -> None:
    """Finds each image of the mosaic by itself, once for each of its mirrors; at the tiles' scale, and at its own."""
    import maskrcnn
    from maskrcnn.inference.tiles import Reconfigured
    from maskrcnn.inference.whole import detect

    model = maskrcnn.load_model(arguments.model)
    samples = load_dataset(arguments.data).samples
    layout = json.loads((arguments.out / "layout.json").read_text())
    scale = arguments.scale or model.config.image.short_side / arguments.tile
    images = sorted({(cell["sample"], cell["mirror"]) for cell in layout})

    def seen_at(size: tuple[int, int]) -> Any:
        short, long = (round(side * scale) for side in (min(size), max(size)))
        config = replace(model.config, image__short_side=short, image__long_side=long)
        return Reconfigured(model, config)

    def run(rows: list[tuple[int, int]], found: dict[Any, Any], *, name: str) -> None:
        rim = arguments.gap if name == "rim" else 0
        for row, mirror in rows:
            image = mirrored(read_image(samples[row].path), mirror)
            image = np.pad(image, ((rim, rim), (rim, rim), (0, 0)), constant_values=GROUND)
            (answer,) = detect(model if name == "natural" else seen_at(image.shape[:2]), image, score=arguments.score)
            if rim:
                height, width = samples[row].size
                place = {"left": rim, "top": rim, "height": height, "width": width}
                answer = cut_to_images(coco_rows(answer), [place], image.shape[:2])[0]
            found[row, mirror] = answer

    for name in ALONE:
        found: dict[Any, Any] = {}
        sizes = {samples[row].size: (row, mirror) for row, mirror in images}
        run(list(sizes.values()), {}, name=name)  # compiles a graph a size
        times = measured(partial(run, images, found, name=name))
        megapixels = sum(np.prod(samples[row].size) for row, _ in images) / 1e6
        report = times | {"megapixels": megapixels, "peak_gigabytes": peak_gigabytes()}
        with open(arguments.out / f"{name}.pickle", "wb") as file:
            pickle.dump((report, found), file)
        print(name, report, flush=True)


def tiled(arguments: argparse.Namespace) -> None:
    """Finds the mosaic tile by tile, and writes all results as `maskrcnn predict` does."""
    import maskrcnn
    from maskrcnn.inference.tiles import detect_large, tiles_of
    from maskrcnn.verbs.predict import predict_large

    model = maskrcnn.load_model(arguments.model)
    options = {"tile": arguments.tile, "overlap": arguments.overlap, "scale": arguments.scale}
    list(detect_large(model, np.zeros((arguments.tile, arguments.tile, 3), np.uint8), **options))  # compiles
    out = arguments.out / f"tiled-{arguments.tile}-{arguments.overlap}"
    tiles = []

    def on_tile(tile: Any) -> None:
        tiles.append(tile)
        if len(tiles) % 200 == 0:
            print(f"{len(tiles)} tiles, {time.perf_counter() - start:.0f} s, {peak_gigabytes():.2f} GB", flush=True)

    start = time.perf_counter()
    times = measured(
        lambda: predict_large(model, arguments.out / "mosaic.tif", out, score=arguments.score, on_tile=on_tile, **options)
    )
    report = times | {"megapixels": arguments.side**2 / 1e6, "peak_gigabytes": peak_gigabytes(), "tiles": len(tiles)}
    rows = tiles_of((arguments.side,) * 2, tile=arguments.tile, overlap=arguments.overlap)
    starts, ends = [each.region[0] for each in rows[0]], [each.region[2] for each in rows[0]]
    report["seams"] = [*starts[1:], *ends[:-1]]
    (out / "report.json").write_text(json.dumps(report))
    print("tiled", {name: value for name, value in report.items() if name != "seams"}, flush=True)


def coco_rows(detections: Detections) -> list[dict[str, Any]]:
    return [{"score": s, "segmentation": rle_to_json(rle)} for s, rle in zip(detections.scores.tolist(), detections.rle())]


def cut_to_images(rows: list[dict[str, Any]], layout: list[dict[str, Any]], size: tuple[int, ...]) -> list[Detections]:
    """What was found in the mosaic, by images."""
    from maskrcnn.geometry.rle import rle_region

    cells = np.full(size, -1, np.int32)
    for number, cell in enumerate(layout):
        cells[cell["top"] : cell["top"] + cell["height"], cell["left"] : cell["left"] + cell["width"]] = number
    found: list[list[Any]] = [[] for _ in layout]
    for row in rows:
        rle = {"size": row["segmentation"]["size"], "counts": row["segmentation"]["counts"].encode()}
        x1, y1, x2, y2 = rle_to_box(rle).astype(int).tolist()
        mask, _ = rle_region(rle, (x1, y1, x2, y2))
        owners = cells[y1:y2, x1:x2][mask]
        if 2 * np.count_nonzero(owners >= 0) <= len(owners):
            continue  # mostly between the images, where nothing is scored
        number = int(np.bincount(owners[owners >= 0]).argmax())
        cell = layout[number]
        image = np.zeros((cell["height"], cell["width"]), bool)
        left, top = max(x1, cell["left"]), max(y1, cell["top"])
        right, bottom = min(x2, cell["left"] + cell["width"]), min(y2, cell["top"] + cell["height"])
        image[top - cell["top"] : bottom - cell["top"], left - cell["left"] : right - cell["left"]] = mask[
            top - y1 : bottom - y1, left - x1 : right - x1
        ]
        found[number].append((row["score"], image))
    answers = []
    for cell, objects in zip(layout, found):
        objects.sort(key=lambda thing: -thing[0])
        boxes = np.array([mask_to_box(mask) for _, mask in objects], np.float32).reshape(-1, 4)
        tops = boxes[:, :2].astype(int)
        answers.append(
            Detections(
                boxes=boxes,
                scores=np.array([score for score, _ in objects], np.float32),
                labels=np.zeros(len(objects), np.int32),
                small_masks=np.zeros((len(objects), 0, 0), np.float32),
                size=(cell["height"], cell["width"]),
                class_names=["nucleus"],
                bitmaps=[m[int(b[1]) : int(b[3]), int(b[0]) : int(b[2])] for (_, m), b in zip(objects, boxes)],
                corners=tops,
            )
        )
    return answers


def score(arguments: argparse.Namespace) -> None:
    from maskrcnn.metrics.coco import evaluate_coco

    dataset = load_dataset(arguments.data)
    layout = json.loads((arguments.out / "layout.json").read_text())
    out = arguments.out / f"tiled-{arguments.tile}-{arguments.overlap}"
    report = json.loads((out / "report.json").read_text())
    answers = {"tiled": cut_to_images(json.loads((out / "mosaic_predictions.json").read_text()), layout, (arguments.side,) * 2)}
    reports = {"tiled": report}
    for name in ALONE:
        with open(arguments.out / f"{name}.pickle", "rb") as file:
            reports[name], found = pickle.load(file)  # our own, of a minute ago
        answers[name] = [found[cell["sample"], cell["mirror"]] for cell in layout]
    truths = []
    for number, cell in enumerate(layout):
        sample = dataset.samples[cell["sample"]]
        masks = [mirrored(rle_to_mask(rle), cell["mirror"]) for rle in sample.rles]
        boxes = np.array([mask_to_box(mask) for mask in masks], np.float32).reshape(-1, 4)
        truths.append(sample.replace(image_id=number, boxes=boxes, rles=[mask_to_rle(mask) for mask in masks]))
    seams = np.array(report["seams"])
    on_seam = []
    for truth, cell in zip(truths, layout):
        boxes = truth.boxes + np.tile((cell["left"], cell["top"]), 2)
        crossed = [((boxes[:, [k]] < seams) & (boxes[:, [k + 2]] > seams)).any(axis=1) for k in (0, 1)]
        on_seam.append(crossed[0] | crossed[1])
    inner_truths = [without_cut(truth) for truth in truths]
    is_inner = ~np.concatenate([truth.crowd for truth in inner_truths])
    seam = np.concatenate(on_seam)
    print(f"{len(seam)} nuclei, {seam.sum()} of them on seams; inner ones {is_inner.sum()} and {(seam & is_inner).sum()}")
    for name, detections in answers.items():
        numbers, inner = (
            evaluate_coco(each, dataset.categories, list(enumerate(detections)), max_detections=(1, 10, 100, 400))["mask"]
            for each in (truths, inner_truths)
        )
        hits = np.concatenate([recalled(truth, each) for truth, each in zip(truths, detections)])
        doubled = sum(count_doubled(each) for each in detections)
        about = reports[name]
        print(
            f"{name:8} mask AP {numbers['AP']:.4f} (AP50 {numbers['AP50']:.4f}), "
            f"inner {inner['AP']:.4f} ({inner['AP50']:.4f}); "
            f"inner recall on seams {hits[seam & is_inner].mean():.4f}, elsewhere {hits[~seam & is_inner].mean():.4f}; "
            f"doubled {doubled}; "
            f"a megapixel in {about['seconds'] / about['megapixels']:.2f} s, of processors "
            f"{about['processor_seconds'] / about['megapixels']:.2f} s; {about['peak_gigabytes']:.2f} GB"
        )


def without_cut(truth: Sample) -> Sample:
    """The truth with the objects that touch the image's border as crowds."""
    height, width = truth.size
    cut = (truth.boxes[:, :2] <= 3).any(axis=1) | (truth.boxes[:, 2:] >= np.array([width, height]) - 3).any(axis=1)
    return truth.replace(crowd=truth.crowd | cut)


def recalled(truth: Sample, detections: Detections) -> np.ndarray:
    """(N,) bool, whether a detection of at least 0.5 covers the object with an IoU of at least 0.5."""
    found = [rle for rle, value in zip(detections.rle(), detections.scores) if value >= 0.5]
    if not found or not truth.rles:
        return np.zeros(len(truth.rles), bool)
    return (np.asarray(coco_mask.iou(found, truth.rles, [0] * len(truth.rles))) >= 0.5).any(axis=0)


def count_doubled(detections: Detections) -> int:
    """Pairs of detections from 0.5 up of which one is covered by the other to more than half."""
    found = [rle for rle, value in zip(detections.rle(), detections.scores) if value >= 0.5]
    if len(found) < 2:
        return 0
    covered = np.asarray(coco_mask.iou(found, found, [1] * len(found)))  # of a crowd: intersection over the first's area
    np.fill_diagonal(covered, 0)
    return int(((covered > 0.5) | (covered.T > 0.5)).sum() // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--score", type=float, default=0.05)
    parser.add_argument("--gap", type=int, default=16, help="pixels between images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deep", action="store_true", help="16 bits")
    parser.add_argument("--only", choices=("make", "alone", "tiled", "score"), action="append")
    arguments = parser.parse_args()
    stages = {"make": make, "alone": alone, "tiled": tiled, "score": score}
    if arguments.only and len(arguments.only) == 1:
        stages[arguments.only[0]](arguments)
        return
    for stage in arguments.only or stages:  # each in a process of its own, for its memory
        words = [word for word in sys.argv[1:] if word not in ("--only", *stages)]
        subprocess.run([sys.executable, __file__, *words, "--only", stage], check=True)


if __name__ == "__main__":
    main()
