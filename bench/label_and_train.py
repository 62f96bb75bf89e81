"""Unlabelled images become a corrected data set and a better model, by what the server's page asks of it; times, and mask AP.

No person takes part: one is simulated from the data's ground truth. Of what the model proposes with a score of at least 0.5, an
object whose mask has an IoU of at least 0.8 with one of the truth is accepted, one of at least 0.5 gets the truth's mask, as by
brush and eraser, and any other is deleted. What was missed is asked for by its box, and drawn where the answer is not good
enough. The images come in the order that the server proposes. Then the server trains on; the old and the new model are scored
on images that nobody labelled.

    python bench/label_and_train.py --data val.json --images val --count 20 --epochs 10
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from serve import Server

from maskrcnn.atomic import write_json
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_iou, rle_from_json, rle_to_json
from maskrcnn.structures import Sample

SURE, GOOD, SAME = 0.5, 0.8, 0.5  # a score that the page shows; IoU of a mask that is left as it is, and of the same object
PATIENCE = 300  # seconds that an answer may take


class Person:
    """Does at the server's address what a person does on its page, and counts it."""

    def __init__(self, address: str) -> None:
        self.session = httpx.Client(base_url=address, timeout=PATIENCE)
        self.actions: Counter[str] = Counter()

    def ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self.session.request(method, path, **content)
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {path} was answered {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    def correct(self, number: int, sample: Sample) -> None:
        """Makes an image of the project right."""
        found = self.ask("GET", f"/v1/project/images/{number}")
        size, name = sample.size, found["objects"][0]["class"] if found["objects"] else self.classes()[0]
        objects = [one for one in found["objects"] if one["score"] is None or one["score"] >= SURE]
        overlaps = mask_iou([rle_from_json(one["mask"], size) for one in objects], sample.rles)  # (N, T)
        kept, missed = [], set(range(len(sample.rles)))
        for row in np.argsort([-(one["score"] or 0) for one in objects], kind="stable"):
            left = sorted(missed, key=lambda place: -overlaps[row, place])
            best = overlaps[row, left[0]] if left else 0.0
            if best < SAME:
                self.actions["deleted"] += 1
                continue
            missed.discard(left[0])
            self.actions["accepted" if best >= GOOD else "repainted"] += 1
            kept.append(objects[row] if best >= GOOD else _drawn(name, sample, left[0]))
        kept += [self.add(number, name, sample, place) for place in sorted(missed)]
        content = {"version": found["image"]["version"], "author": "simulated", "objects": kept}
        self.ask("PUT", f"/v1/project/images/{number}", json=content)

    def add(self, number: int, name: str, sample: Sample, place: int) -> dict[str, Any]:
        """An object that the model missed: its box is drawn, and where the mask is not good enough the object itself."""
        boxes = {"boxes": [sample.boxes[place].tolist()]}
        (answer,) = self.ask("POST", f"/v1/project/images/{number}/segment", json=boxes)["detections"]
        mask = rle_from_json(answer["mask"], sample.size)
        good = float(mask_iou([mask], [sample.rles[place]])[0, 0]) >= GOOD
        self.actions["added by a box" if good else "drawn"] += 1
        return {"class": name, "source": "person", "mask": answer["mask"]} if good else _drawn(name, sample, place)

    def classes(self) -> list[str]:
        return self.ask("GET", "/v1/project")["classes"]

    def train(self, epochs: int) -> dict[str, Any]:
        """Trains on, waits for the end, uses the new model where it is better; gives the run."""
        self.ask("POST", "/v1/project/training", json={"epochs": epochs})
        state: dict[str, Any] = {}
        with self.session.stream("GET", "/v1/project/training", timeout=None) as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    state = json.loads(line.removeprefix("data: "))
        if state["stage"] != "done":
            raise SystemExit(f"The training ended as {state['stage']}: {state['error']}")
        run = next(run for run in self.ask("GET", "/v1/project")["runs"] if run["number"] == state["run"])
        if run["verdict"] != "not better":
            self.ask("POST", f"/v1/project/runs/{state['run']}/use")
        return run


def _drawn(name: str, sample: Sample, place: int) -> dict[str, Any]:
    return {"class": name, "source": "person", "mask": rle_to_json(sample.rles[place])}


def mask_ap(model: str | Path, data: Path, images: Path, folder: Path) -> float:
    target = folder / "scores.json"
    words = ["evaluate", "--model", str(model), "--data", str(data), "--images", str(images), "--json", str(target)]
    subprocess.run([sys.executable, "-m", "maskrcnn", *words], check=True, stdout=subprocess.DEVNULL)
    return json.loads(target.read_text())["mask"]["AP"]


def without(data: Path, file_names: set[str], target: Path, count: int, name: str) -> None:
    """Up to `count` images of a COCO file of one class that are none of those; the class gets the name that the project has."""
    content = json.loads(data.read_text())
    (category,) = content["categories"]
    content["categories"] = [category | {"name": name}]
    left = [image for image in content["images"] if Path(image["file_name"]).name not in file_names][:count]
    ids = {image["id"] for image in left}
    annotations = [each for each in content["annotations"] if each["image_id"] in ids]
    write_json(target, content | {"images": left, "annotations": annotations})


def say(found: dict[str, Any]) -> None:
    """What is known so far, for whoever waits."""
    print(json.dumps(found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ground truth as COCO")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--count", type=int, default=20, help="images that are labelled")
    parser.add_argument("--scored", type=int, default=1000, help="of the others, images that both models are scored on")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    samples = random.Random(given.seed).sample(load_dataset(given.data, images=given.images).samples, given.count)
    by_name = {Path(sample.path).name: sample for sample in samples}
    with tempfile.TemporaryDirectory() as name:
        folder, clock, seconds = Path(name), time.monotonic, dict[str, float]()
        rest, project = folder / "rest.json", folder / "project"
        words = ["serve", "--model", given.model, "--project", str(project), "--timeout", str(PATIENCE)]
        with Server([sys.executable, "-m", "maskrcnn", *words]) as server:
            person, start = Person(server.address), clock()
            without(given.data, set(by_name), rest, given.scored, person.classes()[0])
            for sample in samples:
                file = (Path(sample.path).name, Path(sample.path).read_bytes())
                person.ask("POST", "/v1/project/images", files={"file": file})
            seconds["proposing"] = clock() - start
            say(seconds)
            start = clock()
            while following := person.ask("GET", "/v1/project")["next"]:
                number = following[0]["id"]
                person.correct(number, by_name[person.ask("GET", f"/v1/project/images/{number}")["image"]["name"]])
            seconds["correcting"] = clock() - start
            exported = person.ask("GET", "/v1/project/export?format=coco")
            say({"actions": person.actions, "objects": len(exported["annotations"]), **seconds})
            assert len(exported["images"]) == given.count
            start = clock()
            run = person.train(given.epochs)
            say(run)
            seconds["training and scoring"] = clock() - start
        trained = project / "runs" / f"{run['number']:04d}" / "model" / "last.keras"
        found = {
            "actions": dict(person.actions),
            "objects": len(exported["annotations"]),
            "seconds": seconds,
            "verdict": run["verdict"],
            "held out by the project": {when: run["scores"][when]["mask AP"] for when in ("before", "after")},
            "images that nobody labelled": {
                "before": mask_ap(given.model, rest, given.images, folder),
                "after": mask_ap(trained, rest, given.images, folder),
            },
            "load": os.getloadavg(),
        }
    print(json.dumps(found, indent=2))
    if given.json:
        write_json(given.json, found)


if __name__ == "__main__":
    main()
