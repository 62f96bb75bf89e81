"""The page, used as a person does, in Chromium; what it saved is read from the project's database."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import CHROMIUM, FLAGS
from PIL import Image
from small_server import BrightDetector, image_bytes, live, whole_boxes

from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.serving.app import Abilities, create_app
from maskrcnn.serving.labelling.store import Store
from maskrcnn.serving.settings import ServerSettings

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
SCALE = 8  # at which an image of 64 pixels is shown, at most
WAIT = 60_000  # milliseconds; the machine may be busy


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with playwright.sync_playwright() as library:
        context = library.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1200, "height": 800},
        )
        context.set_default_timeout(WAIT)
        playwright.expect.set_options(timeout=WAIT)
        yield context
        context.close()


class Person:
    """Someone at the page; every complaint of the browser fails the test."""

    def __init__(self, browser: Any, address: str) -> None:
        self.page = browser.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.goto(f"http://{address}/")
        self.page.locator("body[data-ready]").wait_for()

    def open(self, **files: bytes) -> None:
        payload = [{"name": name.replace("_", "."), "mimeType": "", "buffer": data} for name, data in files.items()]
        self.page.set_input_files("#files", payload)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def wait_for(self, selector: str, text: str) -> None:
        playwright.expect(self.page.locator(selector)).to_contain_text(text)

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the image of 64 × 64 pixels is, while all of it is shown."""
        box = self.page.locator("#canvas").bounding_box()
        scale = min(box["width"] / 64, box["height"] / 64, SCALE) * 0.98
        return box["x"] + (box["width"] - 64 * scale) / 2 + x * scale, box["y"] + (box["height"] - 64 * scale) / 2 + y * scale

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.on_screen(x, y))

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.on_screen(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.on_screen(*point), steps=6)
        self.page.mouse.up()

    def leave(self) -> None:
        self.page.close()
        assert self.complaints == []


def keep_screenshot(person: Person, name: str) -> None:
    """For people to look at, where MASKRCNN_SCREENSHOTS names a folder."""
    folder = os.environ.get("MASKRCNN_SCREENSHOTS")
    if folder:
        person.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def viewing(browser: Any) -> Iterator[Person]:
    with live(create_app(BrightDetector(), ServerSettings())) as address:
        person = Person(browser, address)
        yield person
        person.leave()


def test_an_image_is_looked_at_and_the_score_moves_without_a_request(viewing: Person) -> None:
    viewing.open(a_png=image_bytes())
    viewing.wait_for("#count", "1")
    viewing.page.mouse.move(*viewing.on_screen(20, 30))
    viewing.wait_for("#hint", "square 0.90")
    asked: list[str] = []
    viewing.page.on("request", lambda request: asked.append(request.url))
    viewing.page.locator("#score").fill("0.95")
    viewing.wait_for("#count", "0")
    viewing.page.locator("#score").fill("0.5")
    viewing.wait_for("#count", "1")
    viewing.page.locator("#classes input").first.uncheck()
    viewing.wait_for("#count", "0")
    viewing.page.locator("#classes input").first.check()
    viewing.click(20, 30)
    assert viewing.page.locator("#objects [aria-current=true]").count() == 1
    assert asked == []
    keep_screenshot(viewing, "looked_at")


def test_each_class_from_its_best_score_up(browser: Any) -> None:
    with live(create_app(BrightDetector(detect__best_scores=(0.95, 0.5)), ServerSettings(score="auto"))) as address:
        person = Person(browser, address)
        person.open(a_png=image_bytes())
        person.wait_for("#images", "1")
        person.wait_for("#count", "0")
        person.page.locator("#by-class").uncheck()
        person.wait_for("#count", "1")
        person.page.locator("#by-class").check()
        person.wait_for("#count", "0")
        person.page.locator("#score").fill("0.6")
        person.wait_for("#count", "1")
        assert not person.page.locator("#by-class").is_checked()
        person.leave()


def test_zoom_and_keys(viewing: Person) -> None:
    viewing.open(a_png=image_bytes(), b_png=image_bytes(box=(1, 2, 9, 9)))
    viewing.wait_for("#count", "1")
    viewing.page.locator("#canvas").focus()
    viewing.page.keyboard.press("1")
    viewing.wait_for("#zoom", "100 %")
    viewing.page.keyboard.press("+")
    viewing.wait_for("#zoom", "125 %")
    viewing.page.keyboard.press("]")
    viewing.wait_for("#images [aria-current=true]", "b.png")
    viewing.page.wait_for_load_state("networkidle")  # its objects come after it
    viewing.wait_for("#count", "1")
    viewing.page.keyboard.press("n")
    viewing.page.locator("#objects [aria-current=true]").wait_for(state="attached", timeout=20_000)
    viewing.page.keyboard.press("Escape")
    assert viewing.page.locator("#objects [aria-current=true]").count() == 0


def test_sixteen_bits_have_a_window(viewing: Person) -> None:
    values = np.full((64, 64), 33_000, np.uint16)
    values[20:50, 10:30] = 35_000
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    viewing.open(deep_tif=file.getvalue())
    viewing.wait_for("#window", "33000 to 35000")
    viewing.wait_for("#count", "1")
    viewing.page.locator("#low").fill("34000")
    viewing.wait_for("#window", "34000 to 35000")
    keep_screenshot(viewing, "window")


def test_what_is_no_image_is_told(viewing: Person) -> None:
    viewing.open(notes_png=b"hello")
    viewing.wait_for("#message", "none of PNG, JPEG")
    assert any("415" in complaint for complaint in viewing.complaints)
    viewing.complaints.clear()  # the browser tells of every answer that is an error


def video_bytes(tmp_path: Path) -> bytes:
    """Half a second of a white square that goes to the right."""
    av = pytest.importorskip("av", reason='needs the extra "video"')
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for left in range(5, 25, 4):
            pixels = np.zeros((64, 64, 3), np.uint8)
            pixels[20:40, left : left + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_video_is_watched_and_an_identity_corrected(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason='needs the extra "video"')
    from maskrcnn.verbs.track import track_frames

    with live(create_app(BrightDetector(), ServerSettings(), Abilities(track=track_frames))) as address:
        person = Person(browser, address)
        person.open(clip_mp4=video_bytes(tmp_path))
        playwright.expect(person.page.locator("#seek")).to_have_attribute("max", "4")
        person.wait_for("#objects", "square 1")
        person.page.locator("#seek").fill("3")
        person.wait_for("#place", "Frame 3")
        person.click(30, 30)
        person.page.locator("#identity").fill("7")
        person.page.locator("#identity").press("Enter")
        person.wait_for("#objects", "square 7")
        keep_screenshot(person, "video")
        person.page.locator("#seek").fill("2")
        person.wait_for("#objects", "square 1")
        with person.page.expect_download() as download:
            person.page.locator("#save-tracks").click()
        lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
        assert [line["objects"][0]["id"] for line in lines] == [1, 1, 1, 7, 7]
        person.page.locator("#play").click()
        person.wait_for("#place", "Frame 4")
        person.leave()


def test_identities_that_are_corrected_in_a_project_are_there_when_the_video_is_opened_again(
    browser: Any, tmp_path: Path
) -> None:
    pytest.importorskip("scipy", reason='needs the extra "video"')
    from maskrcnn.serving.labelling import videos
    from maskrcnn.verbs.track import track_frames

    folder, clip = tmp_path / "project", video_bytes(tmp_path)
    with live(create_app(BrightDetector(), ServerSettings(project=folder), Abilities(track=track_frames))) as address:
        person = Person(browser, address)
        person.open(clip_mp4=clip)
        person.wait_for("#kept", "Saved, version 0")
        person.page.locator("#seek").fill("3")
        person.wait_for("#place", "Frame 3")
        person.click(30, 30)
        person.page.locator("#identity").fill("7")
        person.page.locator("#identity").press("Enter")
        person.wait_for("#kept", "Saved, version 1")
        person.wait_for("#objects", "square 7")
        keep_screenshot(person, "video_in_a_project")
        store = Store(folder, [])
        (kept,) = videos.videos(store)
        assert (kept.name, kept.version) == ("clip.mp4", 1)
        assert [[item["id"] for item in frame["objects"]] for frame in videos.corrected(store, kept.id)] == [[1]] * 3 + [
            [7]
        ] * 2
        other = Person(browser, address)
        other.open(clip_mp4=clip)
        other.wait_for("#kept", "Saved, version 1")
        other.page.locator("#seek").fill("4")
        other.wait_for("#objects", "square 7")
        videos.change_identity(store, kept.id, videos.IdentityChange(0, 1, 5), based_on=1, author="Ada")
        other.page.locator("#seek").fill("1")
        other.wait_for("#place", "Frame 1")
        other.click(20, 30)
        other.page.locator("#identity").fill("9")
        other.page.locator("#identity").press("Enter")
        other.wait_for("#message", "Ada has saved version 2")
        other.wait_for("#objects", "square 5")
        assert len(other.complaints) == 1  # of the answer 409
        other.complaints.clear()
        with other.page.expect_download() as download:
            other.page.locator("#track-format").select_option("mot")
            other.page.locator("#save-tracks").click()
        assert zipfile.ZipFile(download.value.path()).namelist() == ["mot.txt"]
        other.leave()
        person.leave()
        store.close()


def test_it_is_readable_on_a_phone_in_the_dark(viewing: Person) -> None:
    viewing.page.set_viewport_size({"width": 360, "height": 740})
    viewing.page.emulate_media(color_scheme="dark")
    viewing.open(a_png=image_bytes())
    viewing.wait_for("#count", "1")
    for selector in ("header", "#stage", "#tools", "aside"):
        box = viewing.page.locator(selector).bounding_box()
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= 360, selector
    keep_screenshot(viewing, "phone")


def test_a_token_is_asked_for_once(browser: Any) -> None:
    with live(create_app(BrightDetector(), ServerSettings(token="a-token-that-is-long"))) as address:
        page = browser.new_page()
        page.goto(f"http://{address}/")
        page.locator("#token").fill("a-token-that-is-long")
        page.locator("#ask-token button").click()
        page.locator("body[data-ready]").wait_for()
        page.close()


@pytest.fixture
def correcting(browser: Any, tmp_path: Path) -> Iterator[tuple[Person, Store]]:
    folder = tmp_path / "project"
    abilities = Abilities(segment=whole_boxes, open_detector=lambda path: BrightDetector(), model="nuclei")
    with live(create_app(BrightDetector(), ServerSettings(project=folder), abilities)) as address:
        person, store = Person(browser, address), Store(folder, [])
        person.address = address
        person.open(cell_png=image_bytes())
        person.wait_for("#progress", "0 of 1 images corrected")
        person.wait_for("#count", "1")
        yield person, store
        person.leave()
        store.close()


def saved(store: Store, number: int = 1) -> list[tuple[str, str, np.ndarray]]:
    return [
        (item.class_name, item.source, rle_to_mask(rle_from_json({"size": [64, 64], "counts": item.counts}, (64, 64))))
        for item in store.objects(number)
    ]


def until_saved(person: Person, version: int) -> None:
    person.wait_for("#status", f"Saved, version {version}")


def test_brush_eraser_undo_and_redo(correcting: tuple[Person, Store]) -> None:
    person, store = correcting
    person.click(20, 30)
    person.page.keyboard.press("b")
    person.drag((30, 40), (45, 40))
    until_saved(person, 2)
    ((_, source, mask),) = saved(store)
    assert source == "person"
    assert mask[40, 10:50].all()
    assert not mask[25, 35:].any()
    person.page.keyboard.press("e")
    person.drag((5, 25), (34, 25))
    until_saved(person, 3)
    erased = saved(store)[0][2]
    assert not erased[25].any()
    assert erased[45, 12:28].all()
    person.page.keyboard.press("Control+z")
    until_saved(person, 4)
    np.testing.assert_array_equal(saved(store)[0][2], mask)
    person.page.keyboard.press("Control+z")
    until_saved(person, 5)
    assert saved(store)[0][1] == "model"
    assert saved(store)[0][2].sum() == 600
    person.page.keyboard.press("Control+Shift+z")
    person.page.keyboard.press("Control+Shift+z")
    until_saved(person, 6)
    np.testing.assert_array_equal(saved(store)[0][2], erased)
    keep_screenshot(person, "corrected")


def test_box_polygon_class_and_delete(correcting: tuple[Person, Store]) -> None:
    person, store = correcting
    person.page.keyboard.press("r")
    person.drag((40, 5), (60, 15))
    until_saved(person, 2)
    assert abs(int(saved(store)[1][2].sum()) - 200) <= 30  # of 20 × 10 pixels, a screen pixel is an eighth of one
    person.page.locator("#class").select_option("round")
    until_saved(person, 3)
    assert saved(store)[1][0] == "round"
    person.page.keyboard.press("Escape")
    person.page.keyboard.press("g")
    for place in ((40, 40), (60, 40), (60, 60), (40, 60)):
        person.click(*place)
    person.page.keyboard.press("Enter")
    until_saved(person, 4)
    assert len(saved(store)) == 3
    assert abs(int(saved(store)[2][2].sum()) - 400) <= 40
    person.page.keyboard.press("Delete")
    until_saved(person, 5)
    assert [name for name, _, _ in saved(store)] == ["square", "round"]


def test_split_and_join(correcting: tuple[Person, Store]) -> None:
    person, store = correcting
    person.click(20, 30)
    person.page.keyboard.press("x")
    person.drag((5, 35), (35, 35))
    until_saved(person, 2)
    pieces = [mask for _, _, mask in saved(store)]
    assert len(pieces) == 2
    assert not (pieces[0] & pieces[1]).any()
    assert (pieces[0] | pieces[1]).sum() == 600
    person.page.keyboard.press("j")
    person.click(20, 45)
    person.click(20, 24)
    until_saved(person, 3)
    ((_, _, whole),) = saved(store)
    assert whole.sum() == 600


def test_an_image_that_is_right_leads_to_the_next_and_is_exported(correcting: tuple[Person, Store]) -> None:
    person, store = correcting
    person.open(other_png=image_bytes(box=(40, 40, 60, 60)))
    person.wait_for("#progress", "0 of 2 images corrected")
    person.wait_for("#reason", "Next: ")
    person.page.locator("#done").click()
    person.wait_for("#progress", "1 of 2 images corrected")
    person.wait_for("#images [aria-current=true]", "other.png")
    assert [image.state for image in store.images()] == ["corrected", "proposed"]
    with person.page.expect_download() as download:
        person.page.locator("#export").click()
    assert '"bbox": [10.0, 20.0, 20.0, 30.0]' in Path(download.value.path()).read_text()


def test_a_model_that_is_not_better_is_not_offered(correcting: tuple[Person, Store]) -> None:
    person, store = correcting
    for after in (0.718, 0.812):
        store.add_run()
        scores = {"before": {"mask AP": 0.755}, "after": {"mask AP": after}, "difference": [-0.05, 0.1], "images": 4}
        store.set_run(store.runs()[0]["number"], scores=scores)
    person.page.reload()
    person.wait_for(
        "#runs", "Run 1: mask AP on 4 held-out images 0.755 before, 0.718 after. The new model is not better: the old"
    )
    person.wait_for("#runs", "Run 2: mask AP on 4 held-out images 0.755 before, 0.812 after. That may be chance.")
    assert person.page.locator("#runs li").count() == 2
    assert person.page.locator("#runs .use").count() == 1
    keep_screenshot(person, "runs")


def test_two_tabs_lose_nothing(correcting: tuple[Person, Store], browser: Any) -> None:
    person, store = correcting
    other = Person(browser, person.address)
    other.wait_for("#count", "1")
    person.click(20, 30)
    person.page.keyboard.press("Delete")
    until_saved(person, 2)
    other.page.bring_to_front()
    other.page.keyboard.press("r")
    other.drag((40, 5), (60, 15))
    other.page.locator("#conflict").wait_for()
    keep_screenshot(other, "conflict")
    other.page.get_by_text("Save mine as the newest").click()
    until_saved(other, 3)
    assert [len(store.objects(1, version)) for version in (1, 2, 3)] == [1, 0, 2]
    assert len(other.complaints) == 1  # of the answer 409
    other.complaints.clear()
    other.leave()
