"""Laws of training on large images: a square shows its part of image and truth, and an object is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image
from small_data import read_samples

from maskrcnn.annotations.coco import read_coco
from maskrcnn.annotations.objects import TrueObject, make_sample
from maskrcnn.config.augment import AugmentConfig
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.data import reading
from maskrcnn.data.augment import make_augment
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.loader import make_loader
from maskrcnn.data.reading import cut_sample, read_near_object, read_part
from maskrcnn.data.resize import fit_to_frame
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_mask
from maskrcnn.images import opening
from maskrcnn.images.images import read_image
from maskrcnn.structures import Sample

IMAGE = ImageConfig(short_side=64, long_side=64)


def sample_of(seed: int = 0):
    return read_samples(np.random.default_rng(seed), [(150, 220)], [9])[0]


def test_a_square_shows_its_part_of_every_mask():
    sample = sample_of()
    for region in [(0, 0, 220, 150), (30, 20, 94, 84), (200, 100, 220, 150)]:
        left, top, right, bottom = region
        cut = cut_sample(sample, region, sample.image[top:bottom, left:right], min_visible=0.0)
        whole = {int(number): rle for number, rle in zip(sample.annotation_ids, sample.rles)}
        parts = {number: rle_to_mask(rle)[top:bottom, left:right] for number, rle in whole.items()}
        assert cut.annotation_ids.tolist() == [number for number, part in parts.items() if part.any()]
        for number, rle, box, area in zip(cut.annotation_ids.tolist(), cut.rles, cut.boxes, cut.areas):
            np.testing.assert_array_equal(rle_to_mask(rle), parts[number])
            np.testing.assert_array_equal(box, mask_to_box(parts[number]))
            assert area == pytest.approx(parts[number].sum())
        assert cut.size == (bottom - top, right - left) and not cut.crowd.any()


def test_what_is_hardly_seen_becomes_a_crowd():
    sample = sample_of()
    cut = cut_sample(sample, (30, 20, 150, 140), sample.image[20:140, 30:150], min_visible=0.5)
    seen = cut.areas / np.array([dict(zip(sample.annotation_ids, sample.areas))[number] for number in cut.annotation_ids])
    np.testing.assert_array_equal(cut.crowd, seen < 0.5)
    assert cut.crowd.any() and not cut.crowd.all()


def test_some_object_is_in_every_square_and_squares_reach_everywhere():
    sample, rng = sample_of(), np.random.default_rng(0)
    corners, drawn = [], set()
    for _ in range(300):
        cut = read_near_object(sample, rng, side=64, image_config=IMAGE)
        assert cut.image.shape == (64, 64, 3) and len(cut.boxes)
        drawn |= set(cut.annotation_ids.tolist())
        where = np.argwhere((sample.image == cut.image[0, 0]).all(axis=2)).tolist()
        corners += [place for place in where if (sample.image[place[0] :, place[1] :][:64, :64] == cut.image).all()]
    assert drawn == set(sample.annotation_ids.tolist())
    corners = np.array(corners)
    assert len(corners) == 300 and corners.min() >= 0 and (corners.max(axis=0) <= (86, 156)).all()
    assert (np.ptp(corners, axis=0) > 60).all()


def test_a_square_of_a_file_is_that_of_its_image(tmp_path):
    sample = sample_of()
    tifffile.imwrite(tmp_path / "large.tif", sample.image, tile=(32, 32), compression="zlib", photometric="rgb")
    lazy = sample.replace(image=None, path=str(tmp_path / "large.tif"))
    for seed in range(5):
        one, other = (
            read_near_object(each, np.random.default_rng(seed), side=64, image_config=IMAGE) for each in (sample, lazy)
        )
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_an_image_without_objects_gives_squares_too():
    empty = read_samples(np.random.default_rng(0), [(150, 220)], [0])[0]
    cut = read_near_object(empty, np.random.default_rng(1), side=64, image_config=IMAGE)
    assert cut.size == (64, 64) and cut.boxes.shape == (0, 4)


@pytest.mark.parametrize("crop_side", [0, 64])
def test_training_reads_squares_of_large_images_at_their_own_pixels(crop_side, monkeypatch):
    """Without a crop_side from `LARGE` pixels on, with one from its side on; the model is given the file's own pixels."""
    sample = sample_of()
    dataset = Dataset([sample], (Category(1, "a"), Category(2, "b")), name="large")
    config = ModelConfig(dataset.categories, image=IMAGE)
    if not crop_side:
        monkeypatch.setattr(reading, "LARGE", 150 * 220)
    augment = make_augment(AugmentConfig(horizontal_flip=0.0, crop_side=crop_side), IMAGE, dataset.samples)
    loader = make_loader(dataset, config, batch_size=1, augment=augment, repeat=True, shuffle=True)
    seen = set()
    for number in range(6):
        batch = loader.batch(number)
        assert batch["images"].shape == (1, 64, 64, 3) and batch["valid"].any()
        image = batch["images"][0]
        regions = np.lib.stride_tricks.sliding_window_view(sample.image[:, :, 0], (64, 64))
        places = np.argwhere((regions[:, :, 0, :8] == image[0, :8, 0]).all(axis=2))
        assert len(places) == 1
        top, left = places[0]
        np.testing.assert_array_equal(image, sample.image[top : top + 64, left : left + 64])
        seen.add((top, left))
    assert len(seen) > 3


def test_large_images_of_a_data_set_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LARGE", 40_000)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((200, 300, 3), np.uint8), tile=(64, 64), compression="zlib", photometric="rgb")
    path.write_bytes(path.read_bytes()[:-50] + bytes(50))  # its last tile: nobody looks at it
    content = {
        "images": [{"id": 1, "file_name": "large.tif", "height": 200, "width": 300}],
        "annotations": [],
        "categories": [{"id": 1, "name": "a"}],
    }
    samples, _, faults = read_coco(content, tmp_path / "train.json")
    assert [sample.size for sample in samples] == [(200, 300)] and not faults


def photo(path: Path, size: tuple[int, int], *, orientation: int = 1) -> Path:
    """A JPEG as a camera writes it: smooth and sharp parts."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    grey = 128 + 60 * np.sin(x / 37) * np.cos(y / 23) + 40 * ((x // 64 + y // 64) % 2)
    values = np.stack([grey, np.roll(grey, 20, 0), 255 - grey], axis=2).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(values).save(path, quality=92, exif=exif)
    return path


def discs(path: Path, size: tuple[int, int]) -> Sample:
    """Two objects of an image of this size: a large disc, and a speck of one pixel."""
    y, x = np.mgrid[: size[0], : size[1]]
    masks = [(x - size[1] // 2) ** 2 + (y - size[0] // 2) ** 2 < (min(size) // 4) ** 2, (x == 3) & (y == 3)]
    objects = [
        TrueObject(mask_to_box(mask), 0, False, mask_to_rle(mask), float(mask.sum()), number)
        for number, mask in enumerate(masks)
    ]
    return make_sample(1, path.name, path, size, objects)


@pytest.mark.parametrize(("orientation", "size"), [(1, (512, 800)), (6, (800, 512))])
@pytest.mark.parametrize(("side", "part"), [(64, 8), (100, 4), (200, 2)])
def test_a_large_jpeg_is_decoded_small_and_its_truth_with_it(tmp_path, orientation, size, side, part):
    config = ImageConfig(short_side=side, long_side=2 * side)
    sample = discs(photo(tmp_path / "a.jpg", (512, 800), orientation=orientation), size)
    read, whole = (
        read_part(sample, np.random.default_rng(0), crop_side=0, image_config=config, zoom=zoom) for zoom in (1.0, None)
    )
    assert whole.size == size and read.size == (size[0] // part, size[1] // part) == read.image.shape[:2]
    fitted = [fit_to_frame(each.image, config)[0].astype(float) for each in (read, whole)]
    assert fitted[0].shape == fitted[1].shape
    assert np.abs(fitted[0] - fitted[1]).mean() < 3
    np.testing.assert_allclose(read.boxes[0] * part, whole.boxes[0], atol=part)
    assert rle_area(read.rles[0]) * part**2 == pytest.approx(rle_area(whole.rles[0]), rel=0.1)
    assert read.areas[0] == pytest.approx(rle_area(read.rles[0]))
    assert len(whole.labels) == 2 and len(read.labels) == 1  # less than a pixel is nothing


def test_what_is_not_twice_as_large_or_no_jpeg_is_read_whole(tmp_path):
    config = ImageConfig(short_side=256, long_side=512)
    for zoom, name in ((1.1, "a.jpg"), (1.0, "a.png")):
        sample = discs(photo(tmp_path / "a.jpg", (512, 800)), (512, 800))
        Image.open(tmp_path / "a.jpg").save(tmp_path / "a.png")
        sample = sample.replace(path=str(tmp_path / name))
        read = read_part(sample, np.random.default_rng(0), crop_side=0, image_config=config, zoom=zoom)
        assert read.size == (512, 800) and read.rles == sample.rles
        np.testing.assert_array_equal(read.image, read_image(tmp_path / name))


def test_a_jpeg_that_changed_its_size_is_refused(tmp_path):
    sample = discs(photo(tmp_path / "a.jpg", (512, 800)), (600, 900))
    config = ImageConfig(short_side=64, long_side=128)
    with pytest.raises(ValueError, match=r"a.jpg: it had height, width \(600, 900\) when it was checked; now \(512, 800\)"):
        read_part(sample, np.random.default_rng(0), crop_side=0, image_config=config, zoom=1.0)


def test_a_loader_decodes_as_much_as_its_augmentation_shows(tmp_path):
    sample = discs(photo(tmp_path / "a.jpg", (512, 800)), (512, 800))
    data = Dataset([sample], (Category(1, "disc"),), name="one")
    config = ModelConfig(categories=data.categories, image=ImageConfig(short_side=64, long_side=128))
    whole, fast = (make_loader(data, config, batch_size=1, fast_decode=fast).batch(0) for fast in (False, True))
    assert fast["sizes"].tolist() == whole["sizes"].tolist() == [[64, 100]]
    np.testing.assert_allclose(fast["boxes"][0, 0], whole["boxes"][0, 0], atol=1)
    zooms = [
        make_augment(AugmentConfig(**numbers), config.image).largest_zoom
        for numbers in ({}, {"jitter": (0.5, 2.0)}, {"jitter": (0.5, 0.8)}, {"short_sides": (32, 96)})
    ]
    assert zooms == [1.0, 2.0, 1.0, 1.5]
