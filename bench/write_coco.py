"""Writes a data set, or some of its images, as COCO JSON with RLE masks, for peers that read nothing else.

python bench/write_coco.py DATA OUT.json [--images 0:14] [--class-name bug]

The images stay where they are; readers are told their folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.atomic import write_json
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import rle_to_json


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a data set as COCO JSON.")
    parser.add_argument("data", type=Path, help="what load_dataset reads")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", default=":", metavar="FROM:TO", help="some of them, in their order")
    parser.add_argument("--class-name", help="what the objects of a data set of one class are called")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    first, last = (int(place) if place else None for place in arguments.images.split(":"))
    categories = [{"id": category.id, "name": category.name} for category in dataset.categories]
    if arguments.class_name:
        (only,) = categories
        only["name"] = arguments.class_name
    images, annotations = [], []
    for sample in dataset.samples[first:last]:
        height, width = sample.size
        images.append({"id": sample.image_id, "file_name": sample.file_name, "height": height, "width": width})
        for box, label, crowd, rle, area in zip(sample.boxes, sample.labels, sample.crowd, sample.rles, sample.areas):
            left, top, right, bottom = box.tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": dataset.categories[label].id,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": float(area),
                    "iscrowd": int(crowd),
                    "segmentation": rle_to_json(rle),
                }
            )
    write_json(arguments.out, {"images": images, "annotations": annotations, "categories": categories})
    print(f"{arguments.out}: {len(images)} images, {len(annotations)} objects")


if __name__ == "__main__":
    main()
