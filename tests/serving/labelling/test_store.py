from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason='needs the extra "serve"')

from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.serving.labelling.store import DATABASE, ConflictError, Store, StoredObject
from maskrcnn.serving.labelling.training import model_in_use

SIZE = (40, 60)


def stored(left: int = 5, name: str = "cell", source: str = "person") -> StoredObject:
    mask = np.zeros(SIZE, bool)
    mask[10:20, left : left + 8] = True
    return StoredObject(name, None if source == "person" else 0.75, source, mask_to_rle(mask)["counts"].decode())


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "project", ["cell", "debris"])
    yield store
    store.close()


def add(store: Store, number: int = 0) -> int:
    return store.add_image(f"{number}.png", b"image %d" % number, ".png", SIZE, [0.0, float(number)])[0]


def test_an_image_is_kept_once_under_a_name_of_its_own(store) -> None:
    first, new = store.add_image("../../a.png", b"bytes", ".png", SIZE, [1.0])
    again, old = store.add_image("b.png", b"bytes", ".png", SIZE, [1.0])
    assert (first == again, new, old) == (True, True, False)
    (image,) = store.images()
    assert store.path_of(image).parent == store.folder / "images"
    assert store.path_of(image).read_bytes() == b"bytes"
    assert (image.version, image.state, image.num_objects) == (0, "proposed", 0)


def test_each_save_is_a_version_and_none_is_lost(store) -> None:
    number = add(store)
    assert store.save(number, [stored(source="model")], based_on=0, state="proposed", author="model") == 1
    assert store.save(number, [stored(5), stored(20, "debris")], based_on=1, state="corrected", author="Ada") == 2
    assert [item.class_name for item in store.objects(number)] == ["cell", "debris"]
    assert [item.score for item in store.objects(number, 1)] == [0.75]
    history = store.history(number)
    assert [(row["version"], row["author"], row["objects"]) for row in history] == [(2, "Ada", 2), (1, "model", 1)]
    assert store.image(number).state == "corrected"


def test_a_save_from_an_old_version_is_refused_and_changes_nothing(store) -> None:
    number = add(store)
    store.save(number, [stored()], based_on=0, state="corrected", author="Ada")
    with pytest.raises(ConflictError, match="Ada has saved version 1"):
        store.save(number, [], based_on=0, state="corrected", author="Bob")
    assert len(store.objects(number)) == 1


def test_what_cannot_be_saved_leaves_no_trace(store) -> None:
    number = add(store)
    empty = mask_to_rle(np.zeros(SIZE, bool))["counts"].decode()
    for faulty, error in (
        (stored(name="ghost"), KeyError),
        (StoredObject("cell", None, "person", empty), ValueError),
        (StoredObject("cell", None, "person", "12"), ValueError),
        (StoredObject("cell", 3.0, "model", stored().counts), sqlite3.IntegrityError),
    ):
        with pytest.raises(error):
            store.save(number, [stored(), faulty], based_on=0, state="corrected", author="Ada")
    assert store.image(number).version == 0
    with pytest.raises(KeyError):
        store.save(99, [], based_on=0, state="corrected", author="Ada")


def test_two_people_who_save_at_once_lose_nothing(tmp_path) -> None:
    stores = [Store(tmp_path, ["cell"]) for _ in range(2)]
    number = add(stores[0])
    saved: list[tuple[int, str]] = []

    def work(store: Store, author: str) -> None:
        for _ in range(25):
            while True:
                version = store.image(number).version
                try:
                    saved.append((store.save(number, [stored()], based_on=version, state="corrected", author=author), author))
                    break
                except ConflictError:
                    pass

    threads = [threading.Thread(target=work, args=(store, author)) for store, author in zip(stores, ("Ada", "Bob"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(version for version, _ in saved) == list(range(1, 51))
    assert {(row["version"], row["author"]) for row in stores[0].history(number)} == set(saved)
    for store in stores:
        store.close()


PROGRAM = """
import sys
from pathlib import Path
from maskrcnn.serving.labelling.store import Store, StoredObject
store = Store(Path(sys.argv[1]), ["cell"])
number, _ = store.add_image("a.png", b"a", ".png", (40, 60), [0.0])
version = 0
while True:
    item = StoredObject("cell", None, "person", sys.argv[2])
    version = store.save(number, [item], based_on=version, state="corrected", author="Ada")
    print(version, flush=True)
"""


def test_what_was_answered_is_there_after_the_process_was_killed(tmp_path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), stored().counts]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        answered = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().splitlines()]
    store = Store(tmp_path, ["cell"])
    (image,) = store.images()
    assert image.version in (answered[-1], answered[-1] + 1)  # the last may have been written and not yet answered
    assert len(store.objects(image.id)) == 1
    store.close()


def test_a_data_set_of_what_is_corrected(store, tmp_path) -> None:
    from maskrcnn.data.dataset import load_dataset

    for number in range(6):
        store.save(add(store, number), [stored(number), stored(30, "debris")], based_on=0, state="corrected", author="Ada")
    add(store, 6)
    whole, trained, held_out = (store.as_coco(held_out=part) for part in (None, False, True))
    assert [len(data["images"]) for data in (whole, trained, held_out)] == [6, 5, 1]
    from PIL import Image

    for image in store.images():
        Image.new("RGB", SIZE[::-1]).save(store.path_of(image))
    import json

    (store.folder / "images" / "truth.json").write_text(json.dumps(whole))
    dataset = load_dataset(store.folder / "images" / "truth.json")
    assert [category.name for category in dataset.categories] == ["cell", "debris"]
    assert [sample.areas.tolist() for sample in dataset.samples] == [[80, 80]] * 6


def test_one_run_is_in_use(store) -> None:
    numbers = [store.add_run() for _ in range(3)]
    assert numbers == [1, 2, 3]
    store.set_run(2, scores={"before": {"mask AP": 0.1}, "after": {"mask AP": 0.2}})
    store.set_run(2, used=True)
    store.set_run(3, used=True)
    assert [(run["number"], run["used"]) for run in store.runs()] == [(3, True), (2, False), (1, False)]


def test_the_chosen_model_answers_after_a_restart(tmp_path) -> None:
    assert model_in_use(tmp_path, "nuclei") == "nuclei"
    store = Store(tmp_path, ["cell"])
    store.set_run(store.add_run(), used=True)
    store.close()
    assert model_in_use(tmp_path, "nuclei") == "nuclei"  # its file is not there
    model = tmp_path / "runs" / "0001" / "model" / "last.keras"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"a model")
    assert model_in_use(tmp_path, "nuclei") == model


def test_a_project_of_a_newer_version_and_a_file_that_is_none(tmp_path) -> None:
    store = Store(tmp_path, ["cell"])
    store.close()
    database = sqlite3.connect(tmp_path / DATABASE)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ValueError, match="newer maskrcnn"):
        Store(tmp_path, ["cell"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / DATABASE).write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(ValueError, match="is no project of maskrcnn"):
        Store(tmp_path / "other", ["cell"])


def test_a_project_keeps_its_classes_and_takes_new_ones(tmp_path) -> None:
    Store(tmp_path, ["cell"]).close()
    store = Store(tmp_path, ["debris", "cell"])
    store.add_class("ghost")
    assert store.class_names() == ["cell", "debris", "ghost"]
    store.close()
