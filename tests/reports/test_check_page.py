"""Laws of the page of a data set's check: all of it inside, a list that is ticked off with the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty_data import write_faulty
from pages import CHROMIUM, FLAGS, Elements, assert_looks_right, assert_self_contained

from maskrcnn.data.dataset import Dataset
from maskrcnn.doctor.checks import check
from maskrcnn.doctor.findings import Finding, Where
from maskrcnn.reports.check_page import check_page
from maskrcnn.reports.error_images import read_rgb
from maskrcnn.verbs.check_data import check_data, write_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(check_data(*write_faulty(tmp_path / "data")), tmp_path / "new" / "check.html")


def test_the_page_has_every_finding_with_its_images(page: Path) -> None:
    html = page.read_text()
    assert_self_contained(html, images=15, scripts=1)
    elements = Elements(html)
    items = [attributes for _, attributes in elements.all if attributes.get("class") == "finding"]
    assert len(items) == 17
    assert len({attributes["data-key"] for attributes in items}) == 17
    assert "twice.png, again.png" in "".join(attributes["data-text"] or "" for attributes in items)
    assert {path.name for path in page.parent.iterdir()} == {"check.html"}


@pytest.mark.browser
def test_the_page_looks_right_in_narrow_and_wide_windows(page: Path) -> None:
    assert_looks_right(page)


def test_names_are_text(tmp_path: Path) -> None:
    checkup = check_data(write_faulty(tmp_path / "data")[0])
    data = checkup.parts["train"]
    samples = [sample.replace(file_name=f'"><script>{k}</script>') for k, sample in enumerate(data.samples)]
    parts = {"train": Dataset(samples, data.categories, name="<i>&amp;")}
    nasty = check(parts, {"train": [None] * len(samples)}).with_findings([Finding("<b>", "fault", "<u>", (Where("train", 0),))])
    html = check_page(nasty, title="<i>", read=read_rgb)
    elements = Elements(html)
    assert not elements.open
    assert [tag for tag, _ in elements.all if tag == "script"] == ["script"]
    assert not {"i", "u"} & {tag for tag, _ in elements.all}


def test_good_data_has_a_page_too() -> None:
    html = check_page(check({"train": Dataset([], (), name="none")}, {"train": []}), title="none", read=read_rgb)
    assert "all checks passed" in html
    assert not Elements(html).open


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_what_is_done_is_remembered(page: Path) -> None:
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with library.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab: Any = browser.new_page()  # what it keeps is in memory: a profile on disk may be late, or not there at all
        tab.set_default_timeout(60_000)
        complaints: list[str] = []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(page.resolve().as_uri())
        for key in "jxjjx":
            tab.locator("body").press(key)
        assert tab.locator("#progress").inner_text() == "2 of 17 done"
        tab.reload()
        done = tab.locator(".finding.done")
        done.nth(1).wait_for(state="attached")
        assert done.count() == 2
        assert "black.png" in done.first.inner_text()
        tab.locator("#hide").click()
        assert not done.first.is_visible()
        tab.locator(".kinds button").nth(1).click()
        assert tab.locator(".kind:visible").count() == 17 - 3  # two kinds hold nothing else, one is switched off
        browser.close()
    assert complaints == []
