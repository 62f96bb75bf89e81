"""How a training is shown."""

import io

from rich.console import Console

from maskrcnn.cli.training import TrainingDisplay
from maskrcnn.training.progress import Progress

LOSSES = {"loss": 1.25, "class_loss": 0.5, "rpn_box_loss": 0.125}


def shown(*moments: Progress, seconds: float, terminal: bool = False) -> str:
    text = io.StringIO()
    with TrainingDisplay(
        Console(file=text, force_terminal=terminal, color_system=None, highlight=False, width=300), seconds=seconds
    ) as display:
        for moment in moments:
            display.show(moment)
    return text.getvalue()


def test_in_a_file_each_line_says_step_losses_and_time_left():
    step = Progress("training", 1, 3, 7, 20, LOSSES, 3725.0)
    assert shown(step, seconds=0.0) == "Epoch 1 of 3, step 7 of 20: loss 1.250 (class 0.500, rpn box 0.125), 1:02:05 left\n"
    scoring = Progress("scoring", 1, 3, 4, 9, LOSSES, None)
    assert shown(scoring, seconds=0.0) == "Epoch 1 of 3, scored image 4 of 9: loss 1.250 (class 0.500, rpn box 0.125)\n"


def test_lines_are_as_far_apart_as_is_asked_and_each_epoch_has_its_own():
    step = Progress("training", 1, 3, 7, 20, LOSSES, 60.0)
    epoch = Progress("epoch", 1, 3, 20, 20, {**LOSSES, "val_loss": 2.0, "val_mask_ap": 0.25, "val_class_loss": 9.0}, 60.0)
    lines = shown(step, step, epoch, step, seconds=1000.0).splitlines()
    assert lines == ["Epoch 1 of 3: loss 1.250 (class 0.500, rpn box 0.125), validation loss 2.000, mask AP 0.250, 1:00 left"]


def test_on_a_terminal_steps_move_a_bar_and_leave_no_line():
    step = Progress("training", 1, 3, 7, 20, LOSSES, 60.0)
    epoch = Progress("epoch", 1, 3, 20, 20, LOSSES, None)
    text = shown(step, epoch, step, seconds=0.0, terminal=True)
    assert "Epoch 1/3" in text and "7/20" in text
    assert "step 7 of 20" not in text and "Epoch 1 of 3: loss 1.250" in text
