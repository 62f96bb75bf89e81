"""Laws of the way back: from pixels of the frame to pixels of the original."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest
from PIL import ExifTags, Image
from references import resize as reference

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.data.resize import offset_in_frame
from maskrcnn.images.images import read_image
from maskrcnn.inference.batches import READERS
from maskrcnn.inference.given import as_pixels
from maskrcnn.inference.whole import detect, least_scores, original
from maskrcnn.structures import PaddedDetections

CORNER = ModelConfig(categories=(Category(1, "thing"),))
CENTRE = replace(CORNER, image__place="centre")
MATTERPORT = replace(CENTRE, anchors__ends="last_pixel")


def answer_of(boxes) -> PaddedDetections:
    """A batch of one image with these boxes, best first."""
    num = len(boxes)
    return PaddedDetections(
        boxes=np.array(boxes, np.float32)[None],
        scores=np.linspace(1, 0.5, num, dtype=np.float32)[None],
        labels=np.zeros((1, num), np.int32),
        masks=np.ones((1, num, 28, 28), np.float32),
        valid=np.ones((1, num), bool),
    )


def test_auto_takes_each_class_from_its_own_best_score_up():
    categories = tuple(Category(number, name) for number, name in enumerate(("cat", "dog"), start=1))
    config = ModelConfig(categories=categories)
    answer = answer_of([[0, 0, 9, 9]] * 6)._replace(labels=np.array([[0, 1, 0, 1, 0, 1]], np.int32))  # scores 1.0 0.9 … 0.5
    with pytest.raises(ValueError, match="no best scores .*--save-scores"):
        least_scores("auto", config)
    chosen = least_scores("auto", replace(config, detect__best_scores=(0.85, 0.65)))
    found = original(answer, 0, (64, 64), (64, 64), (64, 64), config, score=chosen)
    assert found.names == ["cat", "dog", "dog"]
    np.testing.assert_allclose(found.scores, [1.0, 0.9, 0.7])
    assert least_scores(0.3, config) == 0.3
    assert least_scores(None, config) is None
    with pytest.raises(ValueError, match="one number for each of 2 classes"):
        replace(config, detect__best_scores=(0.5,))
    with pytest.raises(ValueError, match=r"detect\.best_scores is 0 to 1; received 1\.5"):
        replace(config, detect__best_scores=(0.5, 1.5))


@pytest.mark.parametrize("config", [CORNER, CENTRE, MATTERPORT])
@pytest.mark.parametrize(("size", "size_on_disk"), [((768, 1024), (480, 640)), ((300, 77), (1500, 385)), ((63, 64), (63, 64))])
def test_the_whole_image_in_the_frame_is_the_whole_original(config, size, size_on_disk):
    top, left = offset_in_frame(size, (1024, 1024), config.image.place)
    assert (top, left) == (0, 0) or config is not CORNER
    end = int(config.anchors.ends == "last_pixel")
    boxes = [[left, top, left + size[1] - end, top + size[0] - end]]
    detections = original(answer_of(boxes), 0, size, (1024, 1024), size_on_disk, config)
    np.testing.assert_allclose(detections.boxes, [[0, 0, size_on_disk[1], size_on_disk[0]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "size_on_disk"), [((768, 1024), (480, 640)), ((1024, 683), (3000, 2001)), ((101, 99), (64, 63))]
)
def test_last_pixels_come_back_as_matterport_unmolds_them(size, size_on_disk):
    rng, frame = np.random.default_rng(0), (1024, 1024)
    top, left = (1024 - size[0]) // 2, (1024 - size[1]) // 2
    corners = np.sort(rng.uniform((top, left), (top + size[0] - 1, left + size[1] - 1), (300, 2, 2)), axis=1)  # (N, 2, y x)
    boxes = corners[:, :, ::-1].reshape(-1, 4).astype(np.float32)
    detections = original(answer_of(boxes), 0, size, frame, size_on_disk, MATTERPORT)
    normalised = boxes[:, [1, 0, 3, 2]].astype(np.float64) / 1023
    expected = reference.unmold_boxes(normalised, (top, left, top + size[0], left + size[1]), frame, size_on_disk)
    np.testing.assert_array_equal(detections.boxes, expected[:, [1, 0, 3, 2]])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_model_of_any_channels_gets_them_from_arrays_and_files(tmp_path, channels):
    image = ImageConfig(64, 100, channels=channels, mean=(9.0,) * channels, std=(9.0,) * channels)
    model = StandIn(replace(CORNER, image=image))
    image = np.random.default_rng(0).integers(1, 256, (64, 80, channels), np.uint8)
    np.save(tmp_path / "a.npy", image)
    for item in (image, tmp_path / "a.npy", image[None]):
        (found,) = detect(model, item)
        assert found.size == (64, 80)
        np.testing.assert_array_equal(model.batch["images"][0, :64, :80], image)
    if channels == 1:
        list(detect(model, image[:, :, 0]))
        np.testing.assert_array_equal(model.batch["images"][0, :64, :80], image)
    with pytest.raises(
        ValueError, match=rf"model of {channels} channels is \(H, W, {channels}\).*received shape \(64, 80, 7\)"
    ):
        list(detect(model, np.zeros((64, 80, 7), np.uint8)))


@pytest.mark.backend
def test_a_tensor_is_an_image_as_an_array_is():
    model = StandIn(replace(CORNER, image__short_side=64, image__long_side=100))
    image = np.random.default_rng(0).integers(1, 256, (64, 80, 3), np.uint8)
    for item in (image, image[None], [image]):
        given = [keras.ops.convert_to_tensor(image)] if isinstance(item, list) else keras.ops.convert_to_tensor(item)
        (found,) = detect(model, given)
        assert found.size == (64, 80)
        np.testing.assert_array_equal(model.batch["images"][0, :64, :80], image)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("RGB", 3), ("RGB", 1), ("RGBA", 3), ("RGBA", 4), ("P", 3), ("1", 3), ("L", 3), ("L", 1), ("CMYK", 3), ("I;16", 3)],
)
def test_an_image_of_pillow_is_what_its_file_is(tmp_path, mode, channels):
    config = ImageConfig(channels=channels, mean=(9.0,) * channels, std=(9.0,) * channels)
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image = Image.fromarray(values[:, :, 0].astype(np.uint16) * 99) if mode == "I;16" else Image.fromarray(values).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(path, exif=exif)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_pixels(opened, config), read_image(path, channels=channels))


def test_black_is_black_in_any_kind_of_number():
    assert not as_pixels(np.zeros((4, 4, 3), np.float32), CORNER.image).any()


def test_lists_of_numbers_are_no_images():
    image = np.zeros((4, 5, 3), np.uint8)
    for given in (image.tolist(), [image.tolist()], [[image]]):
        with pytest.raises(ValueError, match="a path or an array; received a list"):
            list(detect(StandIn(CORNER), given))


def test_last_pixels_without_area_in_the_original_are_dropped():
    boxes = [[10, 10, 40, 40], [10.1, 10, 10.2, 40], [10, 10.9, 40, 11.1]]  # after rounding, x2 is one more than the pixel
    kept = original(answer_of(boxes), 0, (64, 64), (64, 64), (64, 64), MATTERPORT)
    assert len(kept) == 3
    boxes[1] = [10.6, 10, 9.4, 40]
    kept = original(answer_of(boxes), 0, (64, 64), (64, 64), (64, 64), MATTERPORT)
    np.testing.assert_array_equal(kept.boxes, [[10, 10, 41, 41], [10, 11, 41, 12]])
    assert len(kept.scores) == len(kept.labels) == len(kept.small_masks) == 2
    assert len(original(answer_of(boxes), 0, (64, 64), (64, 64), (64, 64), CORNER)) == 3


@pytest.mark.parametrize(("size", "size_on_disk"), [((800, 1066), (480, 640)), ((799, 1333), (2001, 3337))])
def test_edges_come_back_as_torchvision_rescales_them(size, size_on_disk):
    boxes = np.random.default_rng(1).uniform(0, size[0], (50, 4)).astype(np.float32)
    ratios = [np.float32(new) / np.float32(old) for new, old in zip(size_on_disk, size, strict=True)]
    detections = original(answer_of(boxes), 0, size, (800, 1344), size_on_disk, CORNER)
    np.testing.assert_array_equal(detections.boxes, boxes * np.array([ratios[1], ratios[0]] * 2))


def test_detections_paste_as_their_model_does():
    config = replace(CORNER, mask_head__paste="torchvision")
    boxes = [[3.4, 4.6, 20.3, 30.8], [0, 0, 9.5, 9.5]]
    exact, whole = (original(answer_of(boxes), 0, (40, 40), (64, 64), (40, 40), c) for c in (CORNER, config))
    assert (exact.paste, whole.paste, whole[0].paste) == ("exact", "torchvision", "torchvision")
    assert not np.array_equal(exact.masks, whole.masks)
    np.testing.assert_array_equal(whole.areas(), whole.masks.sum(axis=(1, 2)))


class StandIn:
    """Stands in for a model; finds the whole of every image, and keeps what it was given."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def predict_on_batch(self, batch):
        self.batch = batch
        frame = batch["images"].shape[1:3]
        boxes = []
        for size in batch["sizes"]:
            top, left = offset_in_frame(size, frame, self.config.image.place)
            boxes.append([[left, top, left + size[1], top + size[0]]])
        num = len(boxes)
        ones = np.ones((num, 1))
        return PaddedDetections(np.array(boxes, np.float32), ones, ones.astype(int) - 1, np.ones((num, 1, 28, 28)), ones > 0)


@pytest.mark.parametrize(
    ("image_config", "frame", "kind"),
    [
        (ImageConfig(64, 100), (64, 96), np.uint8),
        (ImageConfig(64, 100, resize="torchvision", frame="tight"), (64, 96), np.float32),
        (ImageConfig(64, 128, resize="mmdet", frame="tight"), (64, 96), np.uint8),
        (ImageConfig(64, 128, resize="matterport", frame="square", place="centre", stride=64), (128, 128), np.uint8),
    ],
)
def test_detect_gives_the_model_the_frames_of_its_configuration(image_config, frame, kind):
    model = StandIn(replace(CORNER, image=image_config))
    images = [np.random.default_rng(0).integers(1, 256, (*size, 3), np.uint8) for size in ((30, 40), (40, 40))]
    for image, found in zip(images, detect(model, images, batch_size=2), strict=True):
        height, width = image.shape[:2]
        np.testing.assert_allclose(found.boxes, [[0, 0, width, height]], rtol=1e-6)
    images, sizes = model.batch["images"], model.batch["sizes"]
    assert images.shape == (2, *frame, 3) and images.dtype == kind
    for image, size in zip(images, sizes, strict=True):
        top, left = offset_in_frame(size, frame, image_config.place)
        assert image[top : top + size[0], left : left + size[1]].any(axis=2).all()
        assert np.count_nonzero(image.any(axis=2)) == size[0] * size[1]


def test_images_are_read_while_the_model_works_and_none_far_ahead():
    model = StandIn(replace(CORNER, image=ImageConfig(32, 53)))
    read, threads = [], threading.active_count()

    def images():
        for side in range(32, 132):
            read.append(threading.current_thread())
            yield np.full((side, 40, 3), 7, np.uint8)

    found = detect(model, images(), batch_size=2)
    assert [next(found).size for _ in range(3)] == [(32, 40), (33, 40), (34, 40)]
    assert threading.current_thread() not in read
    found.close()
    assert len(read) <= 2 * (2 + 2 * READERS + 2)
    assert threading.active_count() == threads
    assert [each.size[0] for each in detect(model, images(), batch_size=3)] == list(range(32, 132))


def test_one_batch_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", None)
    model = StandIn(replace(CORNER, image=ImageConfig(32, 53)))
    image = np.full((40, 40, 3), 7, np.uint8)
    assert len(list(detect(model, [image, image], batch_size=2))) == 2


def test_an_error_comes_after_the_images_before_it(tmp_path):
    model = StandIn(replace(CORNER, image=ImageConfig(32, 53)))
    found = detect(model, [np.full((40, 40, 3), 7, np.uint8), tmp_path / "none.png", np.zeros((2, 2), bool)])
    assert next(found).size == (40, 40)
    threads = threading.active_count()
    with pytest.raises((ValueError, OSError), match="none.png"):
        next(found)
    assert threading.active_count() < threads
