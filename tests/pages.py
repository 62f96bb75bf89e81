"""Pages that need nothing else: their elements, and how Chromium shows them."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (1200, 360)  # pixels of a desktop's and a telephone's window
_WAIT = 60_000  # milliseconds; the machine may be busy


class Elements(HTMLParser):
    """The elements of a page, with those that are never closed; fails where one closes that is not open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def assert_self_contained(page: str, *, images: int, scripts: int = 0) -> None:
    """Well formed, without an address and with so many scripts, all of it and its images inside, at least so many of those."""
    elements = Elements(page)
    assert not elements.open
    sources = [attributes["src"] or "" for _, attributes in elements.all if "src" in attributes]
    assert len(sources) >= images
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all(attributes["alt"] for tag, attributes in elements.all if tag == "img")
    assert sum(tag == "script" for tag, _ in elements.all) == scripts
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in elements.all}
    assert not re.search(r"https?:|@import|url\(", re.sub(r'src="[^"]*"', "", page))
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(set(ids)) == len(ids)


class Look(NamedTuple):
    """What came of opening a page in one window."""

    requests: list[str]  # but that for the page itself, and data inside of it
    complaints: list[str]  # of the console, and errors
    broken: int  # images that are not shown
    overflow: int  # pixels by which the page is wider than the window
    unreachable: int  # what scrolls on its own and cannot be reached by keyboard


def look_at(page: Path) -> list[Look]:
    """Opens a file in windows of `WIDTHS`; skips the test where there is no browser."""
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with library.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        looks = [_look(browser, page.resolve().as_uri(), width) for width in WIDTHS]
        browser.close()
    return looks


def _look(browser: Any, address: str, width: int) -> Look:
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.set_default_timeout(_WAIT)
    requests: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(address)
    tab.evaluate(
        "Promise.all([...document.images].map(image => { image.loading = 'eager'; return image.decode().catch(() => 0) }))"
    )
    broken = tab.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
    overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    scrolling = "['auto', 'scroll'].includes(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth"
    reached = "box.tabIndex < 0 && !box.querySelector('a, button, [tabindex]')"
    unreachable = tab.evaluate(f"[...document.querySelectorAll('body *')].filter(box => {scrolling} && {reached}).length")
    tab.close()
    outside = [url for url in requests if url != address and not url.startswith("data:")]
    return Look(outside, complaints, broken, overflow, unreachable)


def assert_looks_right(page: Path) -> None:
    """No request to the outside, no complaint, no broken image, nothing wider than the window, all of it for the keyboard."""
    looks = look_at(page)
    assert len(looks) == len(WIDTHS)
    for width, look in zip(WIDTHS, looks):
        assert look.requests == [], f"{page.name} asks for {look.requests}"
        assert look.complaints == [], f"{page.name}: {look.complaints}"
        assert look.broken == 0, f"{page.name} has {look.broken} images that are not shown"
        assert look.overflow <= 0, f"{page.name} is {look.overflow} pixels wider than a window of {width}"
        assert look.unreachable == 0, f"{page.name} has {look.unreachable} parts that the keyboard cannot scroll"
