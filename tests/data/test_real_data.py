"""Real data sets load without a loss that is not reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hotcoco import COCO

from maskrcnn.config.model import ImageConfig, ModelConfig
from maskrcnn.data.batch import make_batch
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.reading import read_sample
from maskrcnn.images.images import read_image

COUNTS = {  # images, objects, crowds
    "nuclei/val.json": (89, 3511, 0),
    "coco128/train.json": (128, 939, 10),
    "nuts/trainval.json": (18, 165, 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_image_and_every_object_is_there(shared_data, name):
    dataset = load_dataset(shared_data / name, strict=True)
    content = json.loads((shared_data / name).read_text())
    assert (len(dataset), sum(len(sample.labels) for sample in dataset.samples)) == COUNTS[name][:2]
    assert sum(int(sample.crowd.sum()) for sample in dataset.samples) == COUNTS[name][2]
    coco = COCO(str(shared_data / name))
    truth = {annotation["id"]: annotation for annotation in content["annotations"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    for sample in dataset.samples:
        for annotation_id, label, box, area, rle in zip(
            sample.annotation_ids, sample.labels, sample.boxes, sample.areas, sample.rles, strict=True
        ):
            annotation = truth.pop(int(annotation_id))
            x, y, width, height = annotation["bbox"]
            assert dataset.categories[label].name == names[annotation["category_id"]]
            np.testing.assert_allclose(box, [x, y, x + width, y + height], atol=0.01)
            assert area == np.float32(annotation["area"])
            assert rle == coco.ann_to_rle(annotation)
    assert not truth


def test_the_fullest_image_makes_a_batch(shared_data):
    dataset = load_dataset(shared_data / "nuclei/val.json", verify_images=False)
    fullest = max(dataset.samples, key=lambda sample: len(sample.labels))
    config = ModelConfig(categories=dataset.categories, image=ImageConfig(short_side=512, long_side=853))
    batch = make_batch([read_sample(fullest, config.image)], config)
    assert batch.valid.sum() == len(fullest.labels) > 100
    boxes, masks = batch.boxes[batch.valid], batch.masks[batch.valid]
    scale = batch.sizes[0] / fullest.size
    covered = masks.mean(axis=(1, 2)) * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(covered, fullest.areas * scale.prod(), rtol=0.03)


def test_microscope_frames_of_16_bits_keep_their_contrast(shared_data):
    image = read_image(shared_data / "cells_video/frames/t000.tif")
    assert image.shape == (700, 1100, 3)
    assert image.min() == 0 and image.max() == 255 and len(np.unique(image)) > 200
