from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("fastapi", reason='needs the extra "serve"')

from maskrcnn.serving.labelling.ordering import Candidate, features_of, order, uncertainty

SURE, UNSURE = (0.99, 0.98), (0.5, 0.55, 0.45)


def test_uncertainty_is_greatest_at_a_half() -> None:
    assert uncertainty([]) == 0
    assert uncertainty([0.0, 1.0]) == 0
    assert uncertainty([0.5]) == 1
    assert uncertainty([0.4]) == pytest.approx(uncertainty([0.6]))


def test_unsure_images_come_first_and_say_why() -> None:
    waiting = [Candidate(1, SURE, [0.0, 0.0]), Candidate(2, UNSURE, [0.0, 0.0]), Candidate(3, (0.9,), [0.0, 0.0])]
    found = order(waiting, done=[[0.0, 0.0]])
    assert found[0].id == 2
    assert found[0].why == "3 unsure objects"
    assert found[-1].why == "the model is sure of it"


def test_of_equally_sure_images_the_unlike_ones_come_first() -> None:
    near, far = [0.0, 0.1], [5.0, 5.0]
    waiting = [Candidate(1, SURE, near), Candidate(2, SURE, near), Candidate(3, SURE, far)]
    found = order(waiting, done=[[0.0, 0.0]])
    assert found[0].id == 3
    assert "unlike the images done so far" in found[0].why


def test_alike_images_do_not_follow_each_other() -> None:
    groups = [[0.0, 0.0], [0.0, 0.01], [4.0, 0.0], [4.0, 0.01], [0.0, 4.0], [0.0, 4.01]]
    waiting = [Candidate(number, SURE, features) for number, features in enumerate(groups)]
    first_three = [one.id // 2 for one in order(waiting, done=[])[:3]]
    assert sorted(first_three) == [0, 1, 2]


def test_every_image_is_there_once() -> None:
    rng = np.random.default_rng(0)
    waiting = [Candidate(number, rng.random(number % 5).tolist(), rng.random(4).tolist()) for number in range(50)]
    assert sorted(one.id for one in order(waiting, done=rng.random((7, 4)).tolist())) == list(range(50))
    assert order([], done=[]) == []


def test_features_tell_light_from_dark_and_left_from_right() -> None:
    dark, light = np.zeros((30, 40, 3), np.uint8), np.full((30, 40, 3), 250, np.uint8)
    left = dark.copy()
    left[:, :20] = 250

    def distance(one: np.ndarray, two: np.ndarray) -> float:
        return float(np.linalg.norm(np.subtract(features_of(one), features_of(two))))

    assert distance(dark, dark) == 0
    assert distance(dark, light) > distance(dark, left) > 0.5
    assert distance(left, left[:, ::-1]) > 0.5
