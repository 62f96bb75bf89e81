"""Laws of the page of a data set's images: all of it inside, every object once, chosen by class, size, fault and name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faulty_data import write_faulty
from pages import CHROMIUM, FLAGS, Elements, assert_looks_right, assert_self_contained
from small_data import read_samples
from typer.testing import CliRunner

from maskrcnn.cli.app import app
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_to_mask
from maskrcnn.reports import view_page
from maskrcnn.reports.error_images import read_rgb
from maskrcnn.verbs.view_data import view_data


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return view_data(write_faulty(tmp_path / "data")[0], tmp_path / "new" / "view.html")


def cards(html: str) -> list[dict[str, str | None]]:
    return [attributes for _, attributes in Elements(html).all if attributes.get("class") == "shown"]


def test_every_image_and_every_object_is_there_once(page: Path) -> None:
    html = page.read_text()
    assert_self_contained(html, images=10, scripts=1)
    assert [card["data-name"] for card in cards(html)][:3] == ["good.png", "twice.png", "again.png"]
    assert len(cards(html)) == 11  # one has no image to show: its file is cut off
    paths = [attributes for tag, attributes in Elements(html).all if tag == "path"]
    assert len(paths) == 17
    assert sum("odd" in (attributes["class"] or "") for attributes in paths) == 7
    assert "cat, 1200 pixels, annotation 1<" in html
    assert "object of the whole image" in (cards(html)[3]["data-faults"] or "")


@pytest.mark.parametrize("decoded", [0, 1 << 24])
def test_the_outline_is_that_of_the_mask(decoded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_page, "_DECODED", decoded)
    mask = np.zeros((60, 80), np.uint8)
    cv2.circle(mask, (40, 30), 20, 1, -1)
    cv2.circle(mask, (40, 30), 8, 0, -1)
    sample = read_samples(np.random.default_rng(0), [(60, 80)], [1])[0].replace(rles=[mask_to_rle(mask)])
    html = view_page.view_page(Dataset([sample], (Category(1, "ring"),)), [], title="ring", read=read_rgb)
    (path,) = re.findall(r' d="([^"]*)"', html)
    drawn = np.zeros_like(mask)
    rings = [np.array([point.split(",") for point in ring.split(" ")], float) for ring in re.findall(r"M([^Z]*)Z", path)]
    assert len(rings) == 2
    cv2.fillPoly(drawn, [np.round(ring - 0.5).astype(np.int32) for ring in rings], 1)
    both = np.count_nonzero(drawn & rle_to_mask(sample.rles[0]))
    assert both / np.count_nonzero(drawn | mask) > 0.9


@pytest.mark.browser
def test_the_page_looks_right_in_narrow_and_wide_windows(page: Path) -> None:
    assert_looks_right(page)


def test_a_choice_of_images(tmp_path: Path) -> None:
    train, _ = write_faulty(tmp_path / "data")
    few = view_data(train, tmp_path / "few.html", num_images=3).read_text()
    assert len(cards(few)) == 3
    faulty = view_data(train, tmp_path / "faulty.html", only_faulty=True).read_text()
    names = ["good.png", "alike.png", "darker.png", "leaked.png", "odd.png"]
    assert [card["data-name"] for card in cards(faulty)] == names
    good = Dataset(read_samples(np.random.default_rng(0), [(40, 50)], [0]), (Category(1, "a"),), name="good")
    with pytest.raises(ValueError, match="No image of good has a fault"):
        view_data(good, tmp_path / "none.html", only_faulty=True)


def test_names_are_text() -> None:
    samples = read_samples(np.random.default_rng(0), [(40, 50)], [2], channels=5)
    samples = [sample.replace(file_name='"><script>.png') for sample in samples]
    nasty = Dataset(samples, (Category(1, "<b>"), Category(2, '"><i>')), name="<u>")
    html = view_page.view_page(nasty, [], title="<u>", read=read_rgb)
    elements = Elements(html)
    assert not elements.open
    assert sum(tag == "script" for tag, _ in elements.all) == 1 and not {"i", "u"} & {tag for tag, _ in elements.all}
    assert sum(tag == "img" for tag, _ in elements.all) == 1  # of five channels, shown in false colors


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    train, _ = write_faulty(tmp_path / "data")
    words = ["data", "view", train, "--out", tmp_path / "view.html", "--num-images", 4]
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.stderr
    assert len(cards((tmp_path / "view.html").read_text())) == 4


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_images_are_chosen_in_the_browser(page: Path) -> None:
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with library.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab: Any = browser.new_page()
        tab.set_default_timeout(60_000)
        complaints: list[str] = []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(page.resolve().as_uri())

        def told() -> str:
            return tab.locator("#progress").inner_text()

        assert told() == "11 images, 17 objects"
        tab.locator('button[data-class="1"]').click()
        assert told() == "1 image, 1 object"
        tab.locator('button[data-class="1"]').click()
        tab.locator('button[data-size="large"]').click()
        assert told() == "1 image, 1 object"
        tab.locator('button[data-size="large"]').click()
        tab.locator('button[data-fault="two classes for one object"]').click()
        assert told() == "1 image, 2 objects"
        tab.locator('button[data-fault="two classes for one object"]').click()
        tab.locator("#name").fill("AGAIN")
        assert told() == "1 image, 2 objects"
        tab.locator("#name").fill("")
        tab.locator("#outlines").focus()
        tab.keyboard.press("j")
        tab.keyboard.press("Enter")
        assert tab.locator(".shown.large").get_attribute("data-name") == "good.png"
        tab.keyboard.press("o")
        assert not tab.locator(".shown.large svg").is_visible()
        browser.close()
    assert complaints == []
