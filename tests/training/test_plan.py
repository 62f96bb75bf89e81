"""What a run is going to do, before there is a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_data import dataset_of

from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.training.plan import Plan, make_plan

OBJECTS = dataset_of([[0], [0, 1]], num_classes=2)
NONE = dataset_of([[], []], num_classes=2)
CROWDS = dataset_of([[], []], num_classes=2, crowds=[[0], [1]])


def plan_of(val: Dataset | None, folder: Path, told: list[str], **settings: object) -> Plan:
    return make_plan(OBJECTS, val, folder / "run", replace(RunConfig(), **settings), resume=False, log=told.append)


def test_the_best_model_is_told_by_what_can_be_measured(tmp_path):
    told: list[str] = []
    assert plan_of(OBJECTS, tmp_path, told).monitor == "val_mask_ap"
    assert plan_of(None, tmp_path, told).monitor is None
    assert not told
    for val in (NONE, CROWDS):
        assert plan_of(val, tmp_path, told, patience=2).monitor == "val_loss"
        assert told.pop() == (
            "The 2 images to validate with hold no object: nothing can be scored on them, and val_loss tells the best model."
        )
    assert plan_of(NONE, tmp_path, told, monitor="loss").monitor == "loss"


def test_classes_are_counted_for_the_losses_that_ask(tmp_path):
    assert "box_head__class_counts" not in plan_of(None, tmp_path, []).model_changes()
    data = dataset_of([[0, 0, 0], [0, 1]], num_classes=2)
    for loss, counts in (("federated", (2.0, 1.0)), ("seesaw", (4.0, 1.0))):  # images, objects
        plan = replace(plan_of(None, tmp_path, [], changes={"box_head__class_loss": loss}), train=data)
        assert plan.model_changes()["box_head__class_counts"] == counts


@pytest.mark.parametrize("monitor", ["val_mask_ap", "val_mask_ap50", "val_box_ap"])
def test_a_score_of_nothing_is_no_monitor(tmp_path, monitor):
    with pytest.raises(
        ValueError, match=f"monitor={monitor} is measured on objects, and the images to validate with hold none"
    ):
        plan_of(NONE, tmp_path, [], monitor=monitor)
