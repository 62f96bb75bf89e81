"""Files answered each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in import StandIn

from maskrcnn.inference.each import MOST_WAITING, detect_each
from maskrcnn.inference.whole import detect
from maskrcnn.structures import Plane, Source


def image_of(path: str) -> np.ndarray:
    """Named HEIGHTxWIDTH-NUMBER."""
    size, _, number = path.partition("-")
    height, width = map(int, size.split("x"))
    return np.full((height, width, 3), int(number), np.uint8)


def read(path: str):
    if path.startswith("broken"):
        raise ValueError(f"Cannot read {path}: it is no image.")
    if path.startswith("gone"):
        raise FileNotFoundError(path)
    planes = 3 if path.startswith("stack") else 1
    image = image_of(path.removeprefix("stack"))
    source = Source(path, image.shape[:2], counts=(planes,), axes="Z")
    for number in range(1, planes + 1):
        if number == 3 and path.endswith("99"):
            raise ValueError("the third plane is cut off")
        yield Plane(source, number, image, image)


def found(*paths: str, batch_size: int, readers: int = 2):
    model = StandIn()
    return model, sorted(detect_each(model, paths, read, batch_size=batch_size, readers=readers), key=lambda a: a[:2])


def test_an_answer_depends_on_no_other_image():
    paths = [f"{size}-{number}" for number in range(5) for size in ("30x60", "60x30", "50x50")]
    model, answers = found(*paths, batch_size=4)
    assert [answer.path for answer in answers] == sorted(paths)
    for path, plane, one in answers:
        (alone,) = detect(StandIn(), image_of(path))
        assert plane == 1 and one.path == path and one.size == alone.size
        np.testing.assert_array_equal(one.scores, alone.scores)
        np.testing.assert_array_equal(one.boxes, alone.boxes)
    frames = [batch["images"].shape for batch in model.batches]
    assert sorted(frames) == sorted([(4, 32, 64, 3), (4, 64, 32, 3), (4, 32, 32, 3)] * 2)


def test_files_that_fail_are_answers_and_others_go_on():
    _, answers = found("40x40-1", "broken", "gone", "40x40-2", batch_size=2)
    assert [type(answer.found).__name__ for answer in answers] == [
        "Detections",
        "Detections",
        "ValueError",
        "FileNotFoundError",
    ]
    assert str(answers[2].found) == "Cannot read broken: it is no image."


def test_planes_are_images_of_their_own_until_one_fails():
    _, answers = found("stack40x40-1", "stack40x40-99", batch_size=2)
    planes = [(ending, number) for ending in ("-1", "99") for number in (1, 2, 3)]
    assert [(answer.path[-2:], answer.plane) for answer in answers] == planes
    assert [isinstance(answer.found, ValueError) for answer in answers] == [False] * 5 + [True]


def test_few_images_wait_for_others_of_their_frame(monkeypatch):
    model = StandIn()
    monkeypatch.setattr("maskrcnn.inference.each.choose_frame", lambda sizes, _: (64, 32 * sizes[0][1]))
    taken: list[str] = []

    def paths():
        for width in range(20, 60):
            taken.append(f"48x{width}-7")
            yield taken[-1]

    answers = detect_each(model, paths(), read, batch_size=3, readers=1)
    next(answers)
    assert len(taken) <= 3 * MOST_WAITING + 4
    answers.close()


def test_a_library_that_is_absent_ends_it():
    def needs(path: str):
        raise ImportError("DICOM files need pydicom")

    with pytest.raises(ImportError, match="pydicom"):
        list(detect_each(StandIn(), ["a"], needs))
