"""Milliseconds a frame of the server's page, while a large image with many objects is zoomed and moved; in Debian's Chromium.

Nothing is detected: the objects are discs that a stand-in for a model draws. Each frame gets one step of the wheel or one arrow
key, and the time until its pixels are there counts: one of them is read back, for Chromium draws later than it says. It draws
by software here, as it does without a GPU.

    python bench/page_smoothness.py --side 4000 --objects 300
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pages import CHROMIUM, FLAGS
from small_server import SIDE, BrightDetector, live

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.structures import PaddedDetections

WAIT = 600_000  # milliseconds; the machine may be busy
WINDOW = {"width": 1600, "height": 1000}
FRAMES = """
async ({steps, frames}) => {
  const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect(), times = [], zooms = new Set();
  const next = async () => {
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);  // the page draws in the first
    canvas.getContext("2d").getImageData(0, 0, 1, 1);
    return performance.now();
  };
  canvas.focus();
  let before = await next();
  for (let k = 0; k < frames; k++) {
    const step = steps[k % steps.length];
    if (typeof step === "number") {
      canvas.dispatchEvent(new WheelEvent("wheel", {
        deltaY: step, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true,
      }));
    } else canvas.dispatchEvent(new KeyboardEvent("keydown", {key: step, bubbles: true, cancelable: true}));
    const now = await next();
    times.push(now - before - 1000 / 60);  // of the second of the two frames
    before = now;
    zooms.add(document.getElementById("zoom").textContent);
  }
  return {times, zooms: zooms.size};
}
"""
RIGHT_AND_BACK = ["ArrowRight"] * 8 + ["ArrowLeft"] * 8
STAGES = (  # name, keys before it, steps
    ("zooming in and out of the whole image", "0", [-40] * 20 + [40] * 20),
    ("moving the whole image", "0", RIGHT_AND_BACK),
    ("moving at a pixel a pixel", "1", RIGHT_AND_BACK),
    ("zooming around a pixel a pixel", "1", [-20] * 10 + [20] * 10),
)


class Discs(BrightDetector):
    """Finds as many discs as it is told to, wherever they are."""

    def __init__(self, count: int) -> None:
        super().__init__(detect__max_detections=count)
        self.count = count

    def predict_on_batch(self, batch: dict[str, np.ndarray]) -> PaddedDetections:
        rows, (height, width) = len(batch["images"]), batch["images"].shape[1:3]
        rng = np.random.default_rng(0)
        sides = rng.uniform(0.02, 0.06, (self.count, 1)) * min(height, width)
        corners = rng.uniform(0, 1, (self.count, 2)) * ((width, height) - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        place = (np.arange(SIDE) + 0.5) / SIDE - 0.5
        disc = (place[:, None] ** 2 + place**2 < 0.25).astype(np.float32)
        answer = (boxes, np.full(self.count, 0.9, np.float32), np.zeros(self.count, np.int32))
        masks, valid = np.tile(disc, (self.count, 1, 1)), np.ones(self.count, bool)
        return PaddedDetections(*(np.stack([value] * rows) for value in (*answer, masks, valid)))


def photo(side: int) -> bytes:
    """A JPEG with structure at every size."""
    rng, pixels = np.random.default_rng(0), np.zeros((side, side, 3), np.float32)
    for cells in (8, 64, 512, side):
        pixels += cv2.resize(rng.uniform(0, 64, (cells, cells, 3)).astype(np.float32), (side, side))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000, help="of the image, in pixels")
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--frames", type=int, default=120, help="of each stage")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    app = create_app(Discs(given.objects), ServerSettings(timeout=WAIT / 1000))
    found = {}
    with live(app) as address, sync_playwright() as library, tempfile.TemporaryDirectory() as profile:
        browser = library.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, viewport=WINDOW, timeout=WAIT
        )
        browser.set_default_timeout(WAIT)
        page = browser.new_page()
        page.goto(f"http://{address}/")
        page.locator("body[data-ready]").wait_for()
        page.set_input_files("#files", [{"name": "large.jpg", "mimeType": "image/jpeg", "buffer": photo(given.side)}])
        page.locator("#count", has_text=str(given.objects)).wait_for()
        for name, key, steps in STAGES:
            page.locator("#canvas").focus()
            page.keyboard.press(key)
            page.evaluate(FRAMES, {"steps": steps, "frames": 10})  # what is drawn for the first time
            done = page.evaluate(FRAMES, {"steps": steps, "frames": given.frames})
            times = done["times"]
            assert (done["zooms"] > 1) == isinstance(steps[0], int), "a step did nothing, or something else"
            found[name] = {"median": float(np.median(times)), "p95": float(np.percentile(times, 95))}
            print(f"{name}: median {found[name]['median']:.1f} ms, p95 {found[name]['p95']:.1f} ms", flush=True)
        browser.close()
    print(f"load {os.getloadavg()}, {os.cpu_count()} processors")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
