"""Laws of what detect is given: what is an image is one however it comes, and what is none is refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn.config.model import ImageConfig
from maskrcnn.images.images import read_image
from maskrcnn.inference.given import as_pixels, each_image, kept_image, path_of
from maskrcnn.inference.tiles import shrinkage
from maskrcnn.inference.whole import check_score, detect

CONFIG = ImageConfig(64, 107)
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png"):
        Image.fromarray(RGB).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folders_and_globs_stand_for_their_images(folder):
    wanted = [folder / "a.png", folder / "b.png"]
    for given in (folder, str(folder), folder / "*.png", f"{folder}/*.png", [folder], [f"{folder}/*.png"]):
        assert list(each_image(given)) == wanted
    assert list(each_image([folder / "b.png", folder])) == [folder / "b.png", *wanted]
    with pytest.raises(ValueError, match="no images in"):
        each_image(folder / "*.jpg")


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a[1].png")
    assert each_image(tmp_path / "a[1].png") == [tmp_path / "a[1].png"]


def test_bytes_and_open_files_are_images(folder):
    content = (folder / "a.png").read_bytes()
    with open(folder / "a.png", "rb") as file:
        for given in (content, bytearray(content), memoryview(content), io.BytesIO(content), file):
            (item,) = each_image(given)
            np.testing.assert_array_equal(as_pixels(item, CONFIG), RGB)
            assert path_of(item) is None and kept_image(item, RGB) is None
    with pytest.raises(ValueError, match="Cannot read the 0 bytes: it is no image of a known kind"):
        as_pixels(b"", CONFIG)


def test_true_is_white():
    mask = RGB[:, :, 0] > 100
    np.testing.assert_array_equal(as_pixels(mask, CONFIG), np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "received None. Did reading the image fail?"),
        (RGB.astype(np.float32) / 255, r"received float32 from 0 to 1\. Pass np.uint8\(np.round\(255 \* image\)\)\.$"),
        (RGB.astype(np.uint16) * 20, r"received uint16 from 0 to 5100\. .*maskrcnn.images.values.stretch\(image\)"),
        (RGB.astype(np.float32) - 100, "received float32 from -100 to 155"),
        (np.full((4, 5, 3), np.nan), "received float64 with NaN or infinity"),
        (np.full((4, 5), "x"), "received <U1"),
        (RGB.transpose(2, 0, 1), r"channels last; received shape \(3, 20, 30\), where they are first. Pass np.moveaxis"),
        (RGB[None, :, :, 0], r"received shape \(1, 20, 30\), where they are first"),
        (RGB[:, :, :2], r"received shape \(20, 30, 2\)"),
        ([1, 2], "received a list"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(given, said):
    with pytest.raises(ValueError, match=said) as error:
        as_pixels(given, CONFIG)
    assert "\n" not in str(error.value)


def test_none_alone_is_refused():
    with pytest.raises(ValueError, match="received None. Did reading the image fail"):
        each_image(None)


def test_what_the_sentence_says_gives_an_image():
    deep = RGB.astype(np.uint16) * 20 + 500
    from maskrcnn.images.values import stretch

    assert as_pixels(stretch(deep), CONFIG).max() == 255
    np.testing.assert_array_equal(as_pixels(np.uint8(np.round(255 * (RGB / 255))), CONFIG), RGB)
    np.testing.assert_array_equal(as_pixels(np.moveaxis(RGB.transpose(2, 0, 1), 0, -1), CONFIG), RGB)


@pytest.mark.parametrize("score", ["0.5", 50, -0.1, float("nan"), True])
def test_a_score_is_a_number_from_0_to_1(score):
    with pytest.raises(ValueError, match='score is a number from 0 to 1, such as 0.5, or "auto"; received'):
        check_score(score)
    with pytest.raises(ValueError, match="from 0 to 1"):
        list(detect(None, RGB, score=score))  # before anything else is looked at


def test_scores_at_the_ends_and_none_are_taken():
    for score in (None, 0, 1, 0.5, np.float32(0.25), "auto"):
        check_score(score)


@pytest.mark.parametrize(
    ("size", "factor"), [((360, 3600), 3.4), ((3600, 360), 3.4), ((360, 20_000), 18.7), ((1000, 2000), None), ((50, 600), None)]
)
def test_a_long_image_is_told_by_how_much_it_shrinks(size, factor):
    found = shrinkage(size, ImageConfig(640, 1067))
    assert found == (None if factor is None else pytest.approx(factor, abs=0.05))


def test_an_image_of_a_folder_is_read_as_its_path_is(folder):
    (first, _) = each_image(folder)
    np.testing.assert_array_equal(as_pixels(first, CONFIG), read_image(folder / "a.png"))
