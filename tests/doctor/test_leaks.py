"""Images that are the same, or nearly."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from faulty_data import scene
from PIL import Image
from small_data import dataset_of

from maskrcnn.doctor.fingerprints import Fingerprint, fingerprint, take_fingerprints
from maskrcnn.doctor.leaks import alike, joined, same


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


CHANGES = {
    "compressed": lambda image: as_jpeg(image, 30),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "darker": lambda image: (255 * (image / 255) ** 1.4).astype(np.uint8),
    "grey": lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
    "deeper": lambda image: image.astype(np.uint16) * 257,
    "noisy": lambda image: (image + np.random.default_rng(0).normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_is_known_again(change):
    ones = [fingerprint(scene(seed)) for seed in range(20)]
    others = [fingerprint(CHANGES[change](scene(seed))) for seed in range(20)]
    assert list(alike(ones, others)) == [(k, k) for k in range(20)]
    assert same([*ones, *others]) == []


def test_other_images_are_not_alike():
    assert list(alike([fingerprint(scene(seed)) for seed in range(100)])) == []


def test_the_same_pixels_are_the_same_and_found_in_order():
    prints = [fingerprint(scene(seed)) for seed in (0, 1, 0, 2, 1, 0)]
    assert same(prints) == [[0, 2, 5], [1, 4]]
    assert list(alike(prints)) == [(0, 2), (0, 5), (1, 4), (2, 5)]
    assert same([fingerprint(scene(0)), fingerprint(scene(0).astype(np.uint16))]) == []


def test_images_of_one_colour_are_like_no_other():
    grey = [fingerprint(np.full((30, 40, 3), value, np.uint8)) for value in (0, 90, 90)]
    assert all(taken.plain for taken in grey)
    assert list(alike(grey)) == [] and same(grey) == [[1, 2]]
    assert not fingerprint(scene(0)).plain


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float64])
def test_values_of_any_kind_have_a_fingerprint(dtype):
    values = scene(3)[..., 0] > 100 if dtype is bool else scene(3).astype(dtype)
    taken = fingerprint(values)
    assert (taken.depth, taken.channels) == (np.dtype(dtype).name, 1 if dtype is bool else 3)
    assert fingerprint(np.full((20, 20), np.nan, np.float32)).bits == fingerprint(np.full((20, 20), np.nan, np.float32)).bits


def test_blocks_of_pairs_miss_none(monkeypatch):
    prints = [fingerprint(scene(seed % 7)) for seed in range(25)]
    whole = list(alike(prints))
    monkeypatch.setattr("maskrcnn.doctor.leaks._AT_ONCE", 60)
    assert list(alike(prints)) == whole
    assert len(whole) == sum(a % 7 == b % 7 for a in range(25) for b in range(a + 1, 25)) > 0


def test_groups_and_pairs_join():
    assert joined(6, [(4, 5), (1, 4)]) == [0, 1, 2, 3, 1, 1]
    assert joined(6, [(0, 3)], ["a", "b", "b", "c", None, "c"]) == [0, 1, 1, 0, 4, 0]
    assert joined(3, [], [None, None, None]) == [0, 1, 2]


def test_fingerprints_come_in_order_with_the_errors(tmp_path):
    samples = []
    for number, sample in enumerate(dataset_of([[]] * 30, num_classes=1).samples):
        path = tmp_path / f"{number}.png"
        if number == 7:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(scene(number)).save(path)
        samples.append(sample.replace(path=str(path)))
    done: list[int] = []
    prints = list(take_fingerprints(samples, progress=lambda: done.append(1)))
    assert len(done) == 30
    assert isinstance(prints[7], ValueError) and "7.png" in str(prints[7])
    digests = [taken.digest for taken in prints if isinstance(taken, Fingerprint)]
    assert digests == [fingerprint(scene(number)).digest for number in range(30) if number != 7]


def test_large_images_are_not_read_whole(tmp_path, monkeypatch):
    Image.fromarray(scene(0)).save(tmp_path / "large.tif")
    monkeypatch.setattr("maskrcnn.doctor.fingerprints.has_many_pixels", lambda _: True)
    sample = dataset_of([[]], num_classes=1).samples[0].replace(path=str(tmp_path / "large.tif"))
    assert list(take_fingerprints([sample])) == [None]
