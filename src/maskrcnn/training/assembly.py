"""The callbacks of a run, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from maskrcnn.data.loader import Loader, num_batches
from maskrcnn.interrupts import StopRequest
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.structures import RunView
from maskrcnn.training.callbacks import CocoEvaluation, EarlyStopping, SaveModels, StopOnNonFinite, WriteHistory
from maskrcnn.training.plan import Plan
from maskrcnn.training.progress import Progress, ReportProgress
from maskrcnn.training.resume import KeepState
from maskrcnn.training.showing import ShowRun
from maskrcnn.training.tensorboard import TensorBoard


@dataclass(eq=False)
class RunCallbacks:
    """What happens beside the steps of a run."""

    plan: Plan
    finite: StopOnNonFinite
    evaluation: CocoEvaluation | None
    remembering: dict[str, Any]  # whose memory goes into the state, by name
    keeping: KeepState
    reporting: ReportProgress | None

    def in_order(self, epoch: int, step: int, more: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """For a `fit` that begins there: scores come before what looks at them, and the state is kept last."""
        self.finite.first_step = step
        if self.reporting is not None:
            self.reporting.first_step = step
        return [
            self.finite,
            *([self.evaluation] if self.evaluation else []),
            *self.remembering.values(),
            TensorBoard(self.plan.out / "tensorboard", evaluation=self.evaluation, first_epoch=epoch),
            *more,
            *([self.reporting] if self.reporting else []),
            self.keeping,
        ]

    def where_it_stopped(self) -> str:
        """One line for a person who ended the run."""
        state, plan = self.keeping.state, self.plan
        if state is None:
            return f"Stopped before the first step; nothing of it is in {plan.out}."
        step = f" and {state.step} of {plan.steps} steps" if state.step else ""
        return (
            f"Stopped; the state after {state.epoch} of {plan.config.epochs} epochs{step} is saved in {plan.out}; "
            "go on with resume=True (--resume)."
        )


def make_callbacks(
    plan: Plan,
    network: Network,
    batches: Loader,
    stop: StopRequest,
    *,
    evaluation: CocoEvaluation | None,
    report: Callable[[Progress], None] | None,
    show: Callable[[RunView], None],
    log: Callable[[str], None],
) -> RunCallbacks:
    """All callbacks of a run but the user's.

    Args:
        plan: of the run.
        network: that learns.
        batches: of the whole run, for the one that gave a loss that is not finite.
        stop: a signal that waits for the end of a step.
        evaluation: after each epoch, where there is something to validate on.
        report: told how far the training is.
        show: writes the report of the run.
        log: told what goes wrong beside the training.
    """
    config, out = plan.config, plan.out
    reporting = None
    if report is not None:
        validation_steps = 0 if plan.val is None else num_batches(plan.val, config.batch_size)
        reporting = ReportProgress(report, epochs=config.epochs, steps=plan.steps, validation_steps=validation_steps)
    if evaluation is not None and reporting is not None:
        evaluation.on_scored = reporting.on_scored
    history = WriteHistory(out / "history.csv")
    remembering: dict[str, Any] = {
        "models": SaveModels(out, monitor=plan.monitor, evaluation=evaluation),
        "history": history,
    }
    if not config.no_report:
        parts: dict[str, Any] = {"evaluation": evaluation, "batch_of": batches.batch, "log": log}
        remembering["report"] = ShowRun(plan, write=show, history=lambda: history.memory, **parts)
    if config.patience is not None and plan.monitor is not None:
        remembering["early_stopping"] = EarlyStopping(plan.monitor, patience=config.patience)
    keeping = KeepState(
        out,
        settings=plan.settings,
        remembering=remembering,
        every_minutes=config.save_minutes,
        state=plan.state,
        stop=stop,
    )
    finite = StopOnNonFinite(
        out / "nonfinite",
        batch_of=lambda epoch, step: batches.batch(epoch * plan.steps + step),
        recover=keeping.recover,
        file_names={sample.image_id: sample.file_name for sample in plan.train.samples},
        categories=network.config.categories,
    )
    return RunCallbacks(plan, finite, evaluation, remembering, keeping, reporting)
