"""`maskrcnn predict`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

import maskrcnn
from maskrcnn.cli.console import errors, progress, tell
from maskrcnn.cli.models import models_to_run
from maskrcnn.cli.options import (
    LARGE,
    MANY,
    MEDICAL,
    MODELS_OPTION,
    BatchOption,
    EngineOption,
    ImagesOption,
    TtaOption,
    parse_score,
    parse_window,
)


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="Images, folders of images, quoted globs, https:// addresses, or - for standard input."
        ),
    ] = None,
    model: Annotated[list[Path] | None, MODELS_OPTION] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="DIR", help="Folder for predictions.json, overlays and label maps; with --ray for Parquet."
        ),
    ] = "predictions",
    score: Annotated[
        str,
        typer.Option(
            "--score",
            metavar="X|auto",
            help="Lowest score of a detection; auto: each class's best threshold, stored by evaluate --save-scores.",
        ),
    ] = "0.5",
    batch_size: BatchOption = 1,
    tta: TtaOption = False,
    engine: EngineOption = "auto",
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="FORMAT",
            help="Output for each image: overlay, labels (both by default), geojson, ome-tiff, nifti or dicom-seg; for images "
            "in tiles also zarr. Or for an annotation tool, all images in one folder predictions-FORMAT: coco, yolo, labelme, "
            "voc, cvat, label-studio, qupath, imagej, label-maps, mask-files, rle-csv, parquet, parquet-images or shards. "
            "Repeat for more.",
        ),
    ] = None,
    measurements: Annotated[
        bool, typer.Option("--measure", help="Measure every object: measurements.csv and measurements.parquet.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            exists=True,
            help="Use the image ids of this data set, and its category ids by name. Without INPUT, its images are processed.",
        ),
    ] = None,
    images: ImagesOption = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="CENTER,WIDTH|N",
            help="Window of DICOM, NIfTI and 16-bit TIFF values, such as 40,400; or the N-th window of a DICOM file.",
            **MEDICAL,
        ),
    ] = None,
    axis: Annotated[
        Literal["axial", "coronal", "sagittal"],
        typer.Option("--axis", metavar="axial|coronal|sagittal", help="Slicing direction of NIfTI volumes.", **MEDICAL),
    ] = "axial",
    keep_patient: Annotated[
        bool,
        typer.Option("--keep-patient", help="Copy the patient's data from the source to DICOM segmentations.", **MEDICAL),
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            metavar="N",
            min=0,
            help="Process larger images in tiles of N pixels, each as one image. Default: the model's short side, for "
            "slides, zarr and images of 100 million pixels or more; 0: never.",
            **LARGE,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", metavar="N", min=1, help="Overlap of tiles in pixels. Default: an eighth of a tile.", **LARGE
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale", metavar="X", help="Scale factor of tiles, instead of resizing them to the model's short side.", **LARGE
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Predict in several processes and write Parquet: local for this machine, or the address of a Ray cluster. "
            "Inputs may also be lists (*.txt, *.parquet) and addresses such as s3://. Rerun the command to resume.",
            **MANY,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Number of processes. Default: as many as fit.", **MANY),
    ] = None,
    worker_cpus: Annotated[
        int | None,
        typer.Option(
            "--worker-cpus",
            metavar="N",
            min=1,
            help="Cores per process. Default: with GPUs an even share, otherwise 4.",
            **MANY,
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size", metavar="N", min=1, help="Images per Parquet file. Default: 256, fewer for few images.", **MANY
        ),
    ] = None,
) -> None:
    """Find the objects in images: predictions.json, and for each image an overlay and a label map.

    maskrcnn predict --model runs/first photo.jpg folder/ "more/*.tif" --out found

    maskrcnn predict --model torchvision-v2 https://example.org/photo.jpg --out found

    Without --model, the included model finds cell nuclei.

    maskrcnn predict --model runs/first folder/ --save cvat --out found

    maskrcnn predict --model runs/first --ray local list.parquet --out s3://bucket/found

    Unreadable images are reported and skipped; the exit code is then 1.
    """
    if ray is not None:
        alone = {
            "--save": save, "--measure": measurements, "--data": data, "--images": images, "--keep-patient": keep_patient,
            "--tile": tile, "--overlap": overlap, "--scale": scale, "--tta": tta, "--engine": engine not in ("auto", "keras"),
            "several --model": len(model or []) > 1,
        }  # fmt: skip
        if given := [name for name, value in alone.items() if value]:
            raise typer.BadParameter(f"--ray writes Parquet of whole images, found by one model; leave out {', '.join(given)}.")
        _predict_many(
            inputs or [], out, model[0] if model else None, ray, (workers, worker_cpus),
            score=parse_score(score), batch_size=batch_size, window=parse_window(window), axis=axis, shard_size=shard_size,
        )  # fmt: skip
        return
    if workers or worker_cpus or shard_size:
        raise typer.BadParameter("--workers, --worker-cpus and --shard-size are of --ray; add --ray local.")
    if "://" in out or Path(out).is_file():
        raise typer.BadParameter(f"{out} is no folder; wanted is one on this machine, or --ray.", param_hint="'--out'")
    from maskrcnn.verbs.predict import PredictConfig
    from maskrcnn.verbs.predict_folder import plan_prediction, predict_folder
    from maskrcnn.weights.published import SHIPPED

    config = PredictConfig(
        score=parse_score(score),
        batch_size=batch_size,
        save=save or ("overlay", "labels"),
        measurements=measurements,
        window=parse_window(window),
        axis=axis,
        keep_patient=keep_patient,
        tile=tile,
        overlap=overlap,
        scale=scale,
    )
    if data is None and not inputs:
        raise typer.BadParameter("Missing argument 'INPUT...': name images, folders or globs; or --data.")
    dataset = None if data is None else maskrcnn.load_dataset(data, images=images, verify_images=False)
    folder = Path(out)
    job = plan_prediction(inputs or [], config, data=dataset, out=folder, log=tell)
    if not job.whole and not job.large:  # nothing that a model could look at
        _report(0, job.failures)
        raise typer.Exit(1)
    if not model:
        tell("Without --model: cell nuclei, found by the model that comes with the package.")
    count = None if job.large else job.num_planes
    with models_to_run(model or [SHIPPED["nuclei"]], engine, tta=tta, images=count) as loaded:
        with _Bars() as bars:
            predicted = predict_folder(loaded, job, folder, watcher=bars, log=tell)
        _report(predicted.done, predicted.failures, f"; the results are in {folder}" if folder.is_dir() else "")
    if predicted.failures:
        raise typer.Exit(1)


def _predict_many(
    inputs: list[str], out: str, model: Path | None, address: str, room: tuple[int | None, int | None], **settings: Any
) -> None:
    from maskrcnn.verbs.predict_many import Workers, predict_many

    if not inputs:
        raise typer.BadParameter("Missing argument 'INPUT...': name images, folders, globs or lists.")
    with _Bars() as bars:
        many = predict_many(
            inputs, out, model=model or "nuclei", address=address, workers=Workers(*room), watcher=bars, log=tell, **settings
        )
    for left in many.left:
        errors.print(f"[bold red]Left:[/] shard {left.number}, whose worker ended each time: {escape(left.reason)}")
    if many.totals is None:
        tell(f"{len(many.left)} shards are not done; the same command tries them again. All others are in {many.place}")
        raise typer.Exit(1)
    images, objects, failed = many.totals
    tell(f"{images - failed} of {images} images done, {objects} objects; the results are in {many.place}")
    if failed:
        tell(f"{failed} images could not be read: column error of {many.place}/images")
        raise typer.Exit(1)


def _report(done: int, failures: Sequence[tuple[Path, str]], where: str = "") -> None:
    for _, message in failures:
        errors.print(f"[bold red]Skipped:[/] {escape(message)}")
    tell(f"{done} of {done + len(failures)} images done{where}")


class _Bars(ExitStack):
    """A bar for each part of a prediction, one after the other."""

    def begin(self, total: int, about: str = "") -> None:
        self.close()
        if about:
            tell(about)
        self._advance = self.enter_context(progress("Predicting", total))

    def advance(self) -> None:
        self._advance()
