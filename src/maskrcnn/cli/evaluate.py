"""`maskrcnn evaluate`: a model on annotated images, or tracks beside the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import maskrcnn
from maskrcnn.cli.console import console, progress, tell
from maskrcnn.cli.models import load_keras, model_to_run, models_to_run
from maskrcnn.cli.options import (
    DATA_HELP,
    MODELS_OPTION,
    BatchOption,
    EngineOption,
    ImagesOption,
    StrictOption,
    TtaOption,
    check_not_data,
)
from maskrcnn.cli.reading import with_reading_options

if TYPE_CHECKING:
    from maskrcnn.data.dataset import Dataset


@with_reading_options
def evaluate(
    *,
    reading: dict[str, Any],
    model: Annotated[list[Path] | None, MODELS_OPTION] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DATA", exists=True, help=DATA_HELP)] = None,
    tracks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--tracks",
            metavar="TRUTH RESULT",
            help="Evaluate tracks instead: MOT or MOTS text files, Cell Tracking Challenge folders, or the output of `track`.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            file_okay=False,
            help="Write report.html there: curves, error types, best score thresholds, the worst images; for tracks, when "
            "each was lost or switched; and report.json.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Compare two models or results files (predictions.json) on --data: is B better, or is it chance? "
            "With --report DIR also as a page.",
        ),
    ] = None,
    save_scores: Annotated[
        bool,
        typer.Option(
            "--save-scores",
            help="Store each class's best score threshold on DATA in the model, for predict --score auto.",
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the scores to this file.")
    ] = None,
    save_results: Annotated[
        Path | None,
        typer.Option(
            "--save-results",
            metavar="FILE",
            dir_okay=False,
            help="Write the detections as a COCO results file, with the image and category ids of DATA.",
        ),
    ] = None,
    biology: Annotated[
        float | None,
        typer.Option(
            "--biology",
            metavar="SCORE",
            min=0.0,
            max=1.0,
            help="Add cell segmentation scores of detections with at least this score: DSB, TP/(TP+FP+FN), PQ, AJI.",
        ),
    ] = None,
    lvis: Annotated[
        bool,
        typer.Option(
            "--lvis", help="Add LVIS's scores; DATA must be LVIS's JSON, which lists the classes each image was searched for."
        ),
    ] = False,
    batch_size: BatchOption = 1,
    tta: TtaOption = False,
    engine: EngineOption = "auto",
    images: ImagesOption = None,
    strict: StrictOption = False,
) -> None:
    """Evaluate a model on annotated images: COCO box and mask AP, and a table by class.

    maskrcnn evaluate --model runs/first --data val.json

    Or evaluate tracks: HOTA, MOTA, IDF1, and sMOTSA of masks.

    maskrcnn evaluate --tracks truth.txt tracked/
    """
    if save_results is not None and (tracks is not None or compare is not None):
        raise typer.BadParameter("--save-results writes what --model finds in --data; leave out --tracks and --compare.")
    for file in (json_file, save_results):
        results = [path for path in (*(tracks or ()), *(compare or ())) if path.is_file()]  # scores may lie in a run's folder
        check_not_data(file, data, images, *results)
    if tracks is not None:
        if model or data is not None:
            raise typer.BadParameter(
                "--tracks scores two files of tracks and needs neither --model nor --data; leave them out."
            )
        _evaluate_tracks(*tracks, json_file, report)
        return
    if compare is not None:
        if model or data is None:
            raise typer.BadParameter("--compare A B takes models or result files: give --data too, and no --model.")
        dataset = maskrcnn.load_dataset(data, images=images, strict=strict, **reading)
        tell(dataset.summary())
        _compare(compare, engine, dataset, batch_size, report, json_file)
        return
    if not model or data is None:
        missing = "--model" if not model else "--data"
        raise typer.BadParameter(f"Missing option '{missing}': give --model and --data, or --tracks TRUTH RESULT alone.")
    if lvis and data.suffix != ".json":
        raise typer.BadParameter(f"--lvis takes LVIS's own JSON as --data; received {data}.")
    if lvis:
        from maskrcnn.verbs.evaluate import check_lvis

        check_lvis(data)  # refused before the model looks at anything
    if save_scores:
        load_keras()

        from maskrcnn.verbs.evaluate import check_own_model

        if len(model) > 1 or tta:
            raise typer.BadParameter("--save-scores writes into one model, of its own answers: give one --model, and no --tta.")
        check_own_model(model[0])  # refused before the model looks at anything
        engine = "keras"  # an export of what the file held before would be of no use
    dataset = maskrcnn.load_dataset(data, images=images, strict=strict, **reading)
    tell(dataset.summary())

    from maskrcnn.inference.scoring import write_scores
    from maskrcnn.reports.tables import print_scores

    with models_to_run(model, engine, tta=tta, images=len(dataset)) as loaded:
        with progress("Evaluating", len(dataset)) as advance:
            options: dict[str, Any] = {} if biology is None else {"biology": biology}
            scores = maskrcnn.evaluate(loaded, dataset, batch_size=batch_size, progress=advance, **options)
        if lvis:
            scores["lvis"] = scores.lvis(data)
        print_scores(scores, console)
        if json_file is not None:
            write_scores(json_file, scores)
            tell(f"Scores written to {json_file}")
        if save_results is not None:
            tell(f"Results written to {scores.save_results(save_results)}")
        if save_scores:
            shown = ", ".join(f"{name} {score:.3f}" for name, score in list(scores.best_scores().items())[:10])
            tell(f"Best scores written into {scores.save_best_scores(model[0])}: {shown}")
        if report is not None:
            scores.title = f"{', '.join(map(str, model))} on {data}"
            tell(f"The report is {scores.report(report)}")


def _compare(
    paths: tuple[Path, Path], engine: str, dataset: Dataset, batch_size: int, report: Path | None, json_file: Path | None
) -> None:
    from maskrcnn.inference.scoring import write_scores
    from maskrcnn.reports.tables import print_comparison

    results: list[Any] = []
    for path in paths:
        if path.suffix == ".json":
            results.append(path)
            continue
        progressing = progress(f"Evaluating {path.name}", len(dataset))
        with model_to_run(path, engine, images=len(dataset)) as loaded, progressing as advance:
            results.append(maskrcnn.evaluate(loaded, dataset, batch_size=batch_size, progress=advance))
    names = (str(paths[0]), str(paths[1]))
    comparison = maskrcnn.compare(results[0], results[1], dataset, folder=report, names=names)
    print_comparison(comparison, names, console)
    if json_file is not None:
        write_scores(json_file, comparison)
        tell(f"The comparison is in {json_file}")
    if report is not None:
        tell(f"The page is {report / 'comparison.html'}")


def _evaluate_tracks(truth: Path, result: Path, json_file: Path | None, report: Path | None) -> None:
    from maskrcnn.inference.scoring import write_scores
    from maskrcnn.reports.tables import print_track_scores
    from maskrcnn.verbs.evaluate_tracks import evaluate_tracks

    scores = evaluate_tracks(truth, result, folder=report)
    print_track_scores(scores, console)
    if json_file is not None:
        write_scores(json_file, scores)
        tell(f"Scores written to {json_file}")
    if report is not None:
        tell(f"The report is {report / 'report.html'}")
