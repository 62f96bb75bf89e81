"""Laws of turning arrays into images."""

import itertools

import numpy as np
import pytest

from maskrcnn.geometry.turns import Turn, turned, turned_back

TURNS = [Turn(*flags) for flags in itertools.product((False, True), repeat=3)]
VALUES = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("turn", TURNS)
def test_turning_back_undoes_a_turn(turn):
    np.testing.assert_array_equal(turned_back(turned(VALUES, turn), turn), VALUES)


def test_the_eight_turns_are_eight_images():
    assert len({turned(VALUES[:, :, 0], turn).tobytes() + bytes([turn.swap]) for turn in TURNS}) == 8


def test_axes_are_swapped_before_rows_are_reversed():
    np.testing.assert_array_equal(turned(VALUES[:, :, 0], Turn(swap=True, flip_rows=True)), VALUES[:, ::-1, 0].T)
