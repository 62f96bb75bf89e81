"""Files of detectron2 and MMDetection, from the image to the masks, against `references/rcnn.py`.

The weights are random and calibrated: norms take an image's statistics, and the last layers' answers are spread, so that tens
of objects of all classes are found, with many scores.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from references import rcnn
from weights import layout_files
from weights.layout_files import Shapes, Sizes

from maskrcnn import MaskRCNN
from maskrcnn.structures import Detections
from maskrcnn.weights.files.pth import write_pth

NARROW = {"channels": 32, "hidden": 64, "num_classes": 5}
R50, X101 = Sizes(**NARROW), Sizes(blocks=(3, 4, 23, 3), groups=32, width_per_group=8, **NARROW)
SMALL = {"short_side": 96, "long_side": 144}
FINEST = 12.0  # instead of the projects' 56: small images use all levels
MOST_SAMPLES = math.ceil(144 / 4 / 7)  # feature pixels; of a box from edge to edge, on the finest level
IMAGE, OTHERS = (140, 170), {"upright, enlarged": (85, 60), "long": (70, 250)}


@dataclass(frozen=True)
class Case:
    project: rcnn.Project
    shapes: Shapes


CASES = {
    "detectron2 R50": Case(rcnn.DETECTRON2, layout_files.detectron2(R50)),
    "detectron2 LSJ": Case(rcnn.DETECTRON2, layout_files.detectron2(R50, lsj=True)),
    "detectron2 X101": Case(rcnn.DETECTRON2_RESNEXT, layout_files.detectron2(X101)),
    "mmdet R50": Case(rcnn.MMDET, layout_files.mmdet(R50)),
    "mmdet R50, norms everywhere": Case(rcnn.MMDET, layout_files.mmdet(R50, norms=True)),
    "mmdet X101": Case(rcnn.MMDET_RESNEXT, layout_files.mmdet(X101)),
}
QUICK = ("detectron2 R50", "mmdet R50")
SLOW = [name for name in CASES if name not in QUICK]


def image(height: int, width: int) -> np.ndarray:
    """Coloured clouds with noise: no two places look the same."""
    rng = np.random.default_rng(height)
    clouds = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return (0.8 * clouds + rng.uniform(0, 50, (height, width, 3))).astype(np.uint8)


@cache
def calibrated(name: str, finest: float = FINEST) -> rcnn.Rcnn:
    case = CASES[name]
    return rcnn.calibrated(case.project, case.shapes, image(*IMAGE), finest=finest, **SMALL)


@cache
def ours(name: str, folder: Path, finest: float = FINEST) -> MaskRCNN:
    """A model from a file as the project writes it."""
    weights, path = calibrated(name, finest).weights, folder / f"{name}.weights"
    if name.startswith("mmdet"):
        write_pth(path, weights)
    else:
        path.write_bytes(pickle.dumps({"model": weights, "__author__": "Detectron2 Model Zoo"}, protocol=2))
    changes = {f"image__{side}": pixels for side, pixels in SMALL.items()}
    canonical = finest if name.startswith("mmdet") else 4 * finest
    if finest != FINEST:
        assert canonical == (56 if name.startswith("mmdet") else 224)
    else:
        changes["roi_align__canonical_size"] = canonical
    log: list[str] = []
    model = MaskRCNN.from_checkpoint(path, log=log.append, **changes)
    assert any(" 0 start anew, 0 of the file not used" in line for line in log)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


def assert_same(found: Detections, expected: dict[str, np.ndarray]) -> None:
    """Each detection has its twin, in the same place of the order but where scores tie.

    One may lack it: two boxes whose IoU is NMS's threshold but for float32. A mask may differ where a probability is 0.5 but
    for rounding.
    """
    alike = np.abs(expected["scores"][:, None] - found.scores) < 1e-4
    alike &= expected["labels"][:, None] == found.labels
    alike &= np.abs(expected["boxes"][:, None] - found.boxes).max(axis=2) < 0.01
    rows = np.flatnonzero(alike.any(axis=1))
    twins = alike[rows].argmax(axis=1)
    assert len(set(twins)) == len(twins) >= len(found) - 1
    assert len(found) == len(alike)
    masks, probabilities = found.masks[twins], expected["probabilities"][rows]
    different = masks != (probabilities >= 0.5)
    assert np.abs(probabilities - 0.5)[different].max(initial=0) < 5e-3
    assert different.sum() <= 2e-3 * masks.sum()


def assert_answers_alike(name: str, folder: Path, shape: tuple[int, int]) -> None:
    reference = calibrated(name)
    expected = reference.detect(image(*shape))
    assert len(expected["scores"]) >= 20
    assert 2 < reference.most_samples <= MOST_SAMPLES
    assert_same(ours(name, folder).detect(image(*shape))[0], expected)


@pytest.mark.backend
@pytest.mark.parametrize("name", QUICK)
def test_a_model_from_the_file_answers_as_the_project(name, folder):
    assert_answers_alike(name, folder, IMAGE)


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize("name", SLOW)
def test_so_do_the_other_kinds(name, folder):
    assert_answers_alike(name, folder, IMAGE)


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize("shape", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("name", QUICK)
def test_and_so_to_images_of_other_shapes(name, shape, folder):
    assert_answers_alike(name, folder, shape)
