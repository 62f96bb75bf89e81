"""The command `maskrcnn`: arguments in, one verb called, readable lines out.

Keras and its backend are imported inside the commands, so that `maskrcnn --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from typer.core import TyperGroup

import maskrcnn
from maskrcnn.backend import installed, prefer

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN
    from maskrcnn.config.model import ModelConfig
    from maskrcnn.data.dataset import Dataset
    from maskrcnn.results.names import Names
    from maskrcnn.structures import Detections


LONGEST_ERROR = 600  # characters; a backend's own errors run to pages

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Commands(TyperGroup):
    """Every failure becomes one line on stderr and exit code 2; `--debug`, wherever it stands, shows the traceback too."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in arguments
        if debug:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        else:
            warnings.showwarning = _tell_warning
        try:
            words = [word for word in arguments if word != "--debug"]
            code = super().main(words, *rest, **(extra | {"standalone_mode": False}))
        except Exception as error:
            if debug:
                traceback.print_exc()
            _tell_error(error)
            code = 2
        sys.exit(code)


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

MODEL_OPTION = typer.Option(
    "--model",
    metavar="RUN|FILE|NAME",
    help="A folder that `train` wrote (its best.keras), a .keras file, or nuclei, which comes with the package.",
)
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder of the images that a COCO JSON names, where it isn't beside the JSON.",
    ),
]
BatchOption = Annotated[
    int, typer.Option("--batch-size", metavar="N", min=1, help="Images that go through the model together.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse data with any fault, instead of repairing or leaving out what is faulty.")
]
DATA_HELP = "A COCO or VIA JSON file, or a folder with images/ and masks/ (label maps: 0 = background, k = the k-th object)."
IN_DETAIL: dict[str, Any] = {"rich_help_panel": "Training in detail"}
MEDICAL: dict[str, Any] = {"rich_help_panel": "Medical and scientific images"}
LARGE: dict[str, Any] = {"rich_help_panel": "Images of any size"}
ABOUT_DATA: dict[str, Any] = {"rich_help_panel": "Augmentation and rare classes"}


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    _: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and the backend's own messages.")] = False,
) -> None:
    """Mask R-CNN on Keras: find every object in an image, with its class, its box and its mask.

    [bold]maskrcnn demo[/] shows all of it in a few minutes, without data or downloads.
    """
    if show_version:
        console.print(f"maskrcnn {maskrcnn.__version__}")
    elif context.invoked_subcommand is None:
        console.print(context.get_help())


@app.command()
def train(
    data: Annotated[Path, typer.Option("--data", metavar="TRAIN", exists=True, help=f"What to learn from. {DATA_HELP}")],
    val: Annotated[
        Path, typer.Option("--val", metavar="VAL", exists=True, help="What to score each epoch on; the same two forms.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="RUN", file_okay=False, help="Folder for best.keras, last.keras, history and scores."),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PRESET", help="mobilenet_v2_fpn (default, small), resnet50_fpn or resnet101_fpn."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="FILE|NAME",
            help="Weights to start from: a backbone; a whole model of this package, torchvision, detectron2, MMDetection or "
            "matterport; or a published name, such as torchvision-v2 (maskrcnn convert --help lists them).",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="Times to go through the training data.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", metavar="N", min=1, help="Images a training step.")] = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", metavar="N", min=64, help="Pixels of an image's shorter side, as the model sees it."),
    ] = None,
    input_channels: Annotated[
        int | None,
        typer.Option("--input-channels", metavar="N", min=1, help="Channels of the images. Default: 3, or those of --init."),
    ] = None,
    optimizer: Annotated[
        Literal["adam", "adamw", "sgd"] | None, typer.Option("--optimizer", metavar="adam|adamw|sgd", help="Default: adam.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", min=0.0, help="Default: the optimizer's own.")
    ] = None,
    schedule: Annotated[
        Literal["cosine", "step", "constant"] | None,
        typer.Option("--schedule", metavar="cosine|step|constant", help="How the rate falls.", **IN_DETAIL),
    ] = None,
    warm_up_steps: Annotated[
        int | None, typer.Option("--warm-up-steps", metavar="N", min=0, help="Steps until the full rate.", **IN_DETAIL)
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", metavar="X", min=0.0, help="Of kernels alone.", **IN_DETAIL)
    ] = None,
    clip_norm: Annotated[
        float | None, typer.Option("--clip-norm", metavar="X", min=0.0, help="Longest gradient of a step: 10.", **IN_DETAIL)
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", metavar="N", min=1, help="Batches that make one step.", **IN_DETAIL)
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option("--ema", metavar="X", min=0.0, max=1.0, help="Score and save averaged weights: 0.998.", **IN_DETAIL),
    ] = None,
    backbone_rate: Annotated[
        float | None, typer.Option("--backbone-rate", metavar="X", min=0.0, help="Factor of the backbone's rate.", **IN_DETAIL)
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option("--precision", metavar="float32|bfloat16|float16", help="In which layers compute.", **IN_DETAIL),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option("--freeze", metavar="NAME", help="Layers that don't learn: backbone, fpn … Repeat for more.", **IN_DETAIL),
    ] = None,
    augment: Annotated[
        Literal["none", "flip", "photos", "microscopy"] | None,
        typer.Option("--augment", metavar="none|flip|photos|microscopy", help="How images vary. Default: flip.", **ABOUT_DATA),
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(
            "--class-weights",
            metavar="balanced|effective|NAME=X,…",
            help="Let objects of rare classes count more, or of the classes named.",
            **ABOUT_DATA,
        ),
    ] = None,
    repeat_threshold: Annotated[
        float | None,
        typer.Option(
            "--repeat-threshold",
            metavar="X",
            min=0.0,
            max=1.0,
            help="Show images more often that have classes which are in a smaller part of all images than this.",
            **ABOUT_DATA,
        ),
    ] = None,
    focal_gamma: Annotated[
        float | None, typer.Option("--focal-gamma", metavar="X", min=0.0, help="Focal loss for the classes: 2.", **ABOUT_DATA)
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option("--label-smoothing", metavar="X", min=0.0, max=1.0, help="Of the classes: 0.1.", **ABOUT_DATA),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option("--dropout", metavar="X", min=0.0, max=1.0, help="In the box head: 0.5.", **IN_DETAIL)
    ] = None,
    stochastic_depth: Annotated[
        float | None,
        typer.Option("--stochastic-depth", metavar="X", min=0.0, max=1.0, help="Of the backbone's blocks: 0.1.", **IN_DETAIL),
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option("--monitor", metavar="NAME", help="What tells the best model: val_mask_ap (default), val_loss …"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", metavar="N", min=1, help="Stop early, after so many epochs that are no better."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in --out was cut short. The other options must be the same.")
    ] = False,
    save_minutes: Annotated[
        float | None,
        typer.Option("--save-minutes", metavar="X", min=0.0, help="At most so much is lost when a run is killed. Default: 5."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Same seed, same order and same augmentation. Default: 0.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=0, help="Processes that read images.")] = None,
    images: ImagesOption = None,
    val_images: Annotated[
        Path | None,
        typer.Option("--val-images", metavar="DIR", exists=True, file_okay=False, help="The same as --images, for --val."),
    ] = None,
    strict: StrictOption = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any number of the model, by its place in maskrcnn.config: detect.max_detections=400. Repeat for more.",
        ),
    ] = None,
) -> None:
    """Train a model on your images.

    maskrcnn train --data train.json --val val.json --out runs/first --epochs 20
    """
    options = {
        "model": model,
        "init": init,
        "epochs": epochs,
        "batch_size": batch_size,
        "image_size": image_size,
        "input_channels": input_channels,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warm_up_steps": warm_up_steps,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "accumulate": accumulate,
        "ema": ema,
        "backbone_rate": backbone_rate,
        "precision": precision,
        "freeze": freeze,
        "augment": augment,
        "class_weights": _class_weights(class_weights),
        "repeat_threshold": repeat_threshold,
        "focal_gamma": focal_gamma,
        "label_smoothing": label_smoothing,
        "dropout": dropout,
        "stochastic_depth": stochastic_depth,
        "monitor": monitor,
        "patience": patience,
        "save_minutes": save_minutes,
        "seed": seed,
        "workers": workers,
        "images": images,
        "val_images": val_images,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}  # `train` holds the defaults
    _load_keras()
    given |= _settings(changes)
    maskrcnn.train(data, val, out, resume=resume, strict=strict, log=_tell, verbose=_verbose(), **given)
    _tell(f"The run is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")


@app.command()
def evaluate(
    model: Annotated[Path | None, MODEL_OPTION] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DATA", exists=True, help=DATA_HELP)] = None,
    tracks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--tracks",
            metavar="TRUTH RESULT",
            help="Score tracks instead: MOT or MOTS texts, Cell Tracking Challenge folders, or what `track` wrote.",
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the scores there as well.")] = None,
    biology: Annotated[
        float | None,
        typer.Option(
            "--biology",
            metavar="SCORE",
            min=0.0,
            max=1.0,
            help="Biology's scores too, of detections of at least this score: Data Science Bowl, TP/(TP+FP+FN), PQ, AJI.",
        ),
    ] = None,
    batch_size: BatchOption = 1,
    images: ImagesOption = None,
    strict: StrictOption = False,
) -> None:
    """Score a model on annotated images: COCO's box and mask AP, and a table by class.

    maskrcnn evaluate --model runs/first --data val.json

    Or score tracks: HOTA, MOTA, IDF1, and sMOTSA of masks.

    maskrcnn evaluate --tracks truth.txt tracked/
    """
    if tracks is not None:
        if model is not None or data is not None:
            raise typer.BadParameter(
                "--tracks scores two files of tracks and needs neither --model nor --data; leave them out."
            )
        _evaluate_tracks(*tracks, json_file)
        return
    if model is None or data is None:
        missing = "--model" if model is None else "--data"
        raise typer.BadParameter(f"Missing option '{missing}': give --model and --data, or --tracks TRUTH RESULT alone.")
    dataset = maskrcnn.load_dataset(data, images=images, strict=strict)
    _tell(dataset.summary())
    loaded = _load_to_run(model, None)

    from maskrcnn.inference.scoring import write_scores
    from maskrcnn.reports.tables import print_scores

    with _progress("Evaluating", len(dataset)) as advance:
        options: dict[str, Any] = {} if biology is None else {"biology": biology}
        scores = maskrcnn.evaluate(loaded, dataset, batch_size=batch_size, progress=advance, **options)
    print_scores(scores, console)
    if json_file is not None:
        write_scores(json_file, scores)
        _tell(f"Scores written to {json_file}")


def _evaluate_tracks(truth: Path, result: Path, json_file: Path | None) -> None:
    from maskrcnn.inference.scoring import evaluate_tracks, write_scores
    from maskrcnn.reports.tables import print_track_scores

    scores = evaluate_tracks(truth, result)
    print_track_scores(scores, console)
    if json_file is not None:
        write_scores(json_file, scores)
        _tell(f"Scores written to {json_file}")


@app.command()
def track(
    source: Annotated[
        str,
        typer.Argument(metavar="VIDEO|FOLDER|GLOB|CAMERA", help="A video, images in a folder or glob, a camera's number."),
    ],
    model: Annotated[Path | None, MODEL_OPTION] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the results.")] = Path(
        "tracked"
    ),
    tracker: Annotated[
        Literal["mask", "bytetrack", "botsort", "ocsort", "sort"],
        typer.Option("--tracker", metavar="mask|bytetrack|botsort|ocsort|sort", help="By masks (default), or by boxes."),
    ] = "mask",
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Look at each N-th frame only.")] = 1,
    score: Annotated[
        float, typer.Option("--score", metavar="X", min=0.01, max=1.0, help="The least score with which a track begins.")
    ] = 0.5,
    lost: Annotated[
        int, typer.Option("--lost", metavar="N", min=0, help="Frames for which an object that isn't seen is remembered.")
    ] = 30,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="X", min=0.001, help="Frames a second of images. Default: 10.")
    ] = None,
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="FORMAT",
            help="What to write: overlay, mot, mots, json, csv (all by default), ctc. Repeat for more.",
        ),
    ] = None,
    batch_size: BatchOption = 1,
) -> None:
    """Follow the objects of a video: an overlay video, and their tracks as MOT, MOTS, COCO-video JSON and CSV.

    maskrcnn track --model runs/first street.mp4 --out tracked

    Without --model it looks for cell nuclei, with the model that comes with the package. Ctrl-C ends it and keeps what is
    done.
    """
    from maskrcnn.weights.published import SHIPPED

    loaded = _load_to_run(model or SHIPPED["nuclei"], None)
    if model is None:
        _tell("Without --model: cell nuclei, found by the model that comes with the package.")

    from maskrcnn.verbs.track import track_files

    done = 0
    options: dict[str, Any] = {"tracker": tracker, "every": every, "score": score, "lost": lost, "rate": rate}
    options |= {"batch_size": batch_size} | ({"save": save} if save else {})
    with ExitStack() as bar:
        advance: Callable[..., Any] = bool  # until the bar is there

        def on_start(total: int | None) -> None:
            nonlocal advance
            advance = bar.enter_context(_progress("Tracking", total))

        def on_frame(*_: Any) -> None:
            nonlocal done
            done += 1
            advance()

        try:
            track_files(loaded, source, out, on_start=on_start, on_frame=on_frame, **options)
        except (KeyboardInterrupt, ValueError):
            if done:
                _tell(f"Stopped after {done} frames; the results up to there are in {out}")
            raise
    _tell(f"{done} frames done; the results are in {out}")


@app.command()
def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images, folders of images, or quoted globs.")],
    model: Annotated[Path | None, MODEL_OPTION] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for predictions.json, overlays and label maps."),
    ] = Path("predictions"),
    score: Annotated[float, typer.Option("--score", metavar="X", min=0.0, max=1.0, help="The least score that counts.")] = 0.5,
    batch_size: BatchOption = 1,
    engine: Annotated[
        Literal[
            "keras",
            "litert",
            "onnxruntime",
            "openvino",
            "saved-model",
            "torch",
        ]
        | None,
        typer.Option("--engine", help="What runs the model. Default: what it is for."),
    ] = None,
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="FORMAT",
            help="What to write for each image: overlay, labels (both by default), geojson, ome-tiff, nifti or dicom-seg. "
            "Repeat for more.",
        ),
    ] = None,
    measurements: Annotated[
        bool, typer.Option("--measure", help="Measure every object: measurements.csv and measurements.parquet.")
    ] = False,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="CENTRE,WIDTH|N",
            help="Which values of DICOM, NIfTI and deep TIFF the model is shown: 40,400; or the N-th window of a DICOM file.",
            **MEDICAL,
        ),
    ] = None,
    axis: Annotated[
        Literal["axial", "coronal", "sagittal"],
        typer.Option("--axis", metavar="axial|coronal|sagittal", help="How NIfTI volumes are sliced.", **MEDICAL),
    ] = "axial",
    keep_patient: Annotated[
        bool,
        typer.Option("--keep-patient", help="Let DICOM segmentations carry the patient's data of their source.", **MEDICAL),
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            metavar="N",
            min=0,
            help="Find in tiles of N pixels what is larger than that, each seen as one image. Default: the model's short "
            "side, for slides, zarr and images from 100 million pixels on; 0: never.",
            **LARGE,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="N", min=1, help="Pixels that tiles share. Default: an eighth of a tile.", **LARGE),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="X", help="How much a tile is enlarged, not to the model's short side.", **LARGE),
    ] = None,
) -> None:
    """Find the objects in images: predictions.json, and for each image an overlay and a label map.

    maskrcnn predict --model runs/first photo.jpg folder/ "more/*.tif" --out found

    Without --model it looks for cell nuclei, with the model that comes with the package.

    An image that can't be read is reported and skipped; the exit code is then 1.
    """
    from maskrcnn.images.files import find_images
    from maskrcnn.images.images import count_planes
    from maskrcnn.images.opening import is_for_tiles, is_slide
    from maskrcnn.results.names import Names
    from maskrcnn.weights.published import SHIPPED

    shown, names = _window(window), Names()
    images = find_images(inputs, is_slide=is_slide)
    large = [path for path in images if is_for_tiles(path, tile)]
    images = [path for path in images if path not in large]
    if large and (measurements or shown is not None or not set(save or ()) <= {"overlay", "labels", "geojson", "zarr"}):
        raise ValueError(
            f"{large[0]} is found in tiles: leave out --measure and --window, and save overlay, labels, geojson or zarr."
        )
    loaded = _load_to_run(model or SHIPPED["nuclei"], engine)
    if model is None:
        _tell("Without --model: cell nuclei, found by the model that comes with the package.")

    from maskrcnn.verbs.predict import predict_files

    options = {"tile": tile or None, "overlap": overlap, "scale": scale, "score": score, "batch_size": batch_size}
    done, failures = _predict_large(loaded, large, out, names, save=save, **options)
    if images:
        with _progress("Predicting", sum(count_planes(path, axis=axis) for path in images)) as advance:

            def on_image(path: Path, result: Detections | Exception) -> None:
                nonlocal done
                done += not isinstance(result, Exception)
                advance()

            failures += predict_files(
                loaded,
                images,
                out,
                score=score,
                batch_size=batch_size,
                save=save or ("overlay", "labels"),
                measurements=measurements,
                window=shown,
                axis=axis,
                keep_patient=keep_patient,
                names=names,
                on_image=on_image,
            )
    for _, message in failures:
        errors.print(f"[bold red]Skipped:[/] {escape(message)}")
    _tell(f"{done} of {done + len(failures)} images done" + (f"; the results are in {out}" if out.is_dir() else ""))
    if failures:
        raise typer.Exit(1)


def _advance_by_one(advance: Callable[..., None], _: Any) -> None:
    advance()


def _predict_large(
    model: MaskRCNN, paths: Sequence[Path], out: Path, names: Names, *, save: Sequence[str] | None, **options: Any
) -> tuple[int, list[tuple[Path, str]]]:
    """How many large images are done, and the others with what was wrong."""
    from maskrcnn.images.opening import image_size
    from maskrcnn.inference.tiles import num_tiles
    from maskrcnn.results.names import stem_of
    from maskrcnn.verbs.predict import predict_large

    failures: list[tuple[Path, str]] = []
    where = {name: options[name] for name in ("tile", "overlap", "scale")}
    for path in paths:
        try:
            height, width = image_size(path)
            count, side = num_tiles(model.config, (height, width), **where)
            chosen = "" if options["tile"] else "; --tile N sets their side, --tile 0 sees an image as a whole"
            _tell(f"{path}: {width} × {height} pixels, found in {count} tiles of {side}{chosen}")
            with _progress("Predicting", count) as advance:
                predict_large(
                    model,
                    path,
                    out,
                    name=names.new(stem_of(path)),
                    save=save or ("overlay", "labels"),
                    on_tile=partial(_advance_by_one, advance),
                    **options,
                )
        except (ValueError, OSError) as error:
            failures.append((path, str(error)))
    return len(paths) - len(failures), failures


def _window(text: str | None) -> tuple[float, float] | int | None:
    """`40,400` as (centre, width), `2` as a number."""
    if text is None:
        return None
    try:
        if "," not in text:
            return int(text)
        centre, width = map(float, text.split(","))
        if not math.isfinite(centre + width):
            raise ValueError
        return centre, width
    except ValueError:
        raise typer.BadParameter(f"a window is CENTRE,WIDTH, such as 40,400, or a number; received {text}") from None


@app.command(
    epilog="Published names, downloaded on first use: torchvision-v1, torchvision-v2, detectron2-r50-3x, matterport-coco and "
    "others; `maskrcnn convert list` shows them all."
)
def convert(
    file: Annotated[
        str, typer.Argument(metavar="FILE|NAME|list", help="A file of weights, a published name, or the word list.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The model to write: .keras, or .pth.")] = None,
    to: Annotated[
        Literal["maskrcnn", "torchvision"], typer.Option("--to", metavar="maskrcnn|torchvision", help="Default: maskrcnn.")
    ] = "maskrcnn",
    source: Annotated[
        Literal["auto", "torchvision", "detectron2", "mmdet", "matterport"],
        typer.Option("--from", metavar="auto|torchvision|detectron2|mmdet|matterport", help="Default: auto."),
    ] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", exists=True, dir_okay=False, help="Class names, one a line, in their order."),
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", metavar="N", min=1, help="How many the file must know, without background.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float16"],
        typer.Option("--precision", metavar="float32|float16", help="Of the weights in a .keras file; float16 halves it."),
    ] = "float32",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A number of the model (detect.score=0.3), or of a matterport Config (IMAGE_MAX_DIM=512). Repeat for more.",
        ),
    ] = None,
) -> None:
    """Turn weights of torchvision, detectron2, MMDetection or matterport into a model of this package, or back.

    maskrcnn convert mask_rcnn_coco.h5 --out coco.keras

    maskrcnn convert coco.keras --to torchvision --out coco.pth
    """
    if file == "list":
        _print_published()
        return
    if out is None:
        raise typer.BadParameter("say where to write with --out FILE")
    names = None if classes is None else [line.strip() for line in classes.read_text("utf-8").splitlines() if line.strip()]
    _load_keras()
    options = {"to": to, "source": source, "class_names": names, "num_classes": num_classes, "precision": precision}
    maskrcnn.convert(file, out, log=_tell, **options, **_settings(changes))  # type: ignore[arg-type]


def _print_published() -> None:
    from maskrcnn.weights.published import PUBLISHED

    table = Table(Column("name", no_wrap=True, overflow="fold"), "what", "box AP", "mask AP", "licence of the weights")
    for name, published in PUBLISHED.items():
        scores = ("" if score is None else str(score) for score in (published.box_ap, published.mask_ap))
        table.add_row(name, published.about, *scores, published.licence)
    console.print(table)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `train` wrote, a .keras file, or nuclei.")],
    format: Annotated[
        Literal[
            "saved-model",
            "openvino",
            "litert",
            "onnx",
            "torch",
        ],
        typer.Option("--format", help="For which runtime."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The folder or file to write; it appears whole or not at all.")
    ],
    precision: Annotated[
        Literal[
            "float32",
            "float16",
            "bfloat16",
            "int8",
        ],
        typer.Option(
            "--precision",
            metavar="float32|float16|bfloat16|int8",
            help="Of the weights in the file; in the last two layers compute too. Which format has which: docs/export.md.",
        ),
    ] = "float32",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibrate",
            metavar="DIR|FILE",
            exists=True,
            help="For int8: a hundred or so images like those that the model will see. Repeat for more.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images", "--pictures", metavar="FILE", exists=True, help="Check with it instead of the nuclei. Repeatable."
        ),
    ] = None,
) -> None:
    """Write a model for another runtime, masks and preprocessing included, and check it beside the Keras model.

    maskrcnn export runs/first --format onnx --out first.onnx

    maskrcnn predict --model first.onnx photo.jpg
    """
    if prefer(wanted := "torch" if format == "torch" else "tensorflow"):
        _tell(f"Keras runs on {wanted}, from which {format} is written.")
    loaded = _load_model(model)

    from maskrcnn.images.files import find_images
    from maskrcnn.verbs.export import export as export_model

    chosen = find_images(images) if images else ()
    seen = find_images(calibrate) if calibrate else ()
    export_model(loaded, out, format=format, precision=precision, images=chosen, calibrate=seen, log=_tell)
    _tell(f"The model is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")


data_app = typer.Typer(help="Look at data before anything is trained: what it holds, and how it varies in training.")


app.add_typer(data_app, name="data")


DataArgument = Annotated[Path, typer.Argument(metavar="DATA", exists=True, help=DATA_HELP)]
LooksOption = Annotated[
    str,
    typer.Option("--model", metavar="PRESET|RUN|FILE", help="Whose settings count: a preset, a run folder or a .keras file."),
]
SizeOption = Annotated[
    int | None,
    typer.Option("--image-size", metavar="N", min=64, help="Pixels of an image's shorter side, instead of the model's own."),
]


@data_app.command()
def stats(
    data: DataArgument,
    images: ImagesOption = None,
    model: LooksOption = "mobilenet_v2_fpn",
    image_size: SizeOption = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers there as well.")] = None,
) -> None:
    """Count classes, measure objects, try the anchors on them, and suggest what to set.

    maskrcnn data stats train.json
    """
    from maskrcnn.atomic import write_json
    from maskrcnn.doctor.stats import describe
    from maskrcnn.reports.tables import print_stats

    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False)
    found = describe(dataset, _looked_at_by(model, image_size, dataset))
    if dataset.faults:
        _tell(dataset.summary())
    print_stats(found, console)
    if json_file is not None:
        write_json(json_file, dataclasses.asdict(found))
        _tell(f"Numbers written to {json_file}")


@data_app.command()
def preview(
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The sheet of images to write, a PNG.")],
    augment: Annotated[
        str, typer.Option("--augment", metavar="none|flip|photos|microscopy", help="How images vary in training.")
    ] = "flip",
    images: ImagesOption = None,
    model: LooksOption = "mobilenet_v2_fpn",
    image_size: SizeOption = None,
    input_channels: Annotated[
        int, typer.Option("--input-channels", metavar="N", min=1, help="Channels of the images, where --model is a preset.")
    ] = 3,
    num_images: Annotated[
        int, typer.Option("--num-images", "--num-pictures", metavar="N", min=1, help="Images on the sheet.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same sheet.")] = 0,
) -> None:
    """Draw images with their truth as training will see them, varied at random.

    maskrcnn data preview train.json --augment photos --out sheet.png
    """
    from maskrcnn.verbs.preview import preview as draw_preview

    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False)
    image_config = _looked_at_by(model, image_size, dataset, input_channels).image
    draw_preview(dataset, out, augment=augment, image_config=image_config, num_images=num_images, seed=seed)
    _tell(f"The sheet is in {out}")


def _looked_at_by(model: str, image_size: int | None, dataset: Dataset, input_channels: int = 3) -> ModelConfig:
    """The settings of a preset for this data, or of a model; Keras is loaded for a model alone."""
    from maskrcnn.config import fields, presets
    from maskrcnn.weights.published import SHIPPED

    if model in presets.PRESETS:
        config = presets.preset(model, dataset.categories, input_channels=input_channels)
    elif Path(model).exists() or model in SHIPPED:
        config = _load_model(model).config
    else:
        known = ", ".join(presets.PRESETS)
        raise ValueError(f"--model is a preset ({known}), a run folder or a .keras file; there is no {model!r}.")
    if image_size is not None:
        config = fields.replace(config, image__short_side=image_size, image__long_side=round(image_size * 5 / 3))
    return config


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the images, the run and the report.")
    ] = Path("maskrcnn-demo"),
) -> None:
    """Draw a small data set of shapes, train on it for a few minutes, evaluate, and write a report. Needs no data."""
    _load_keras()

    from maskrcnn.verbs.demo import demo as run_demo

    run_demo(out, console=console, verbose=_verbose())


@app.command()
def info(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="A run folder, a .keras file, or nuclei. Without it: versions and devices."),
    ] = None,
) -> None:
    """Show versions, backend and devices; or a model's layers, parameters, classes and preprocessing."""
    if model is not None:
        _print_model(_load_model(model))
        return
    _load_keras()

    import keras

    name = keras.config.backend()
    table = Table(show_header=False, box=None)
    table.add_row("maskrcnn", maskrcnn.__version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("Keras", keras.version())
    table.add_row("backend", f"{name} {_version_of(name)}")
    table.add_row("devices", ", ".join(_devices()))
    others = [f"{other} {_version_of(other)}" for other in installed() if other != name]
    table.add_row("other backends", ", ".join(others) or "none installed")
    table.add_row("CPU cores", str(_num_cores()))
    table.add_row("memory", _memory())
    console.print(table)


def _settings(changes: Iterable[str] | None) -> dict[str, Any]:
    """What `--set` said: fields of `ModelConfig`, and, gathered under one name, numbers in matterport's capitals."""
    given = dict(_setting(change) for change in changes or [])
    numbers = {name: value for name, value in given.items() if name.isupper()}
    fields = {name: value for name, value in given.items() if not name.isupper()}
    return fields | ({"matterport_config": numbers} if numbers else {})


def _class_weights(text: str | None) -> str | dict[str, float] | None:
    """`balanced`, or `car=1,bus=4` by name."""
    if text is None or "=" not in text:
        return text
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise typer.BadParameter(f"--class-weights is balanced, effective or NAME=X,NAME=X; received {text}.") from None


def _setting(change: str) -> tuple[str, Any]:
    """`detect.max_detections=400` as a name and a value of `ModelConfig`."""
    field, _, value = change.partition("=")
    try:
        return field.replace(".", "__"), json.loads(value)
    except json.JSONDecodeError:
        return field.replace(".", "__"), value  # a word, such as class_agnostic


def _tell(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _verbose() -> int:
    """Of Keras: its progress bar on a terminal, a line an epoch in a file."""
    return 1 if console.is_terminal else 2


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A bar with the time left; yields what moves it on by one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps=1: bar.advance(task, steps)


def _print_model(model: MaskRCNN) -> None:
    config = model.config
    table = Table("layer", "weights", "parameters", "trainable", title="Layers", title_justify="left")
    for part in model.layers:
        blocks = getattr(part, "layers", [])  # the backbone's are Keras's own and many, so they are counted, not listed
        table.add_row(f"[bold]{part.name}[/]", f"{len(blocks)} layers" if blocks else "", *_counts(part.variables, part))
        if not blocks:
            for name, variables in groupby(part.variables, key=lambda variable: variable.path.split("/")[1]):
                group = list(variables)
                table.add_row(f"  {name}", " × ".join(map(str, group[0].shape)), *_counts(group, part))
    console.print(table)
    image = config.image
    _tell(f"Parameters: {model.count_params():,}")
    if config.origin:
        _tell(f"Weights: {config.origin}")
    _tell(f"Classes ({config.num_classes}): {', '.join(config.class_names)}")
    _tell(
        f"Preprocessing: shorter side {image.short_side} pixels, longer at most {image.long_side}; "
        f"{image.channel_order.upper() if image.channels == 3 else f'{image.channels} channels'}, mean {image.mean}, "
        f"standard deviation {image.std} (0 to 255)"
    )


def _counts(variables: Iterable[Any], part: Any) -> tuple[str, str]:
    """Numbers of parameters, and of those that training changes."""
    trainable = {variable.path for variable in part.trainable_variables}
    sizes = {variable.path: math.prod(variable.shape) for variable in variables}
    return f"{sum(sizes.values()):,}", f"{sum(size for path, size in sizes.items() if path in trainable):,}"


def _load_model(name_or_path: str | Path) -> maskrcnn.MaskRCNN:
    """A model; where there is none, that is said before Keras is loaded, which takes seconds."""
    from maskrcnn.weights.finding import model_file

    path = model_file(name_or_path)
    _load_keras()
    return maskrcnn.load_model(path)


def _load_to_run(name_or_path: str | Path, engine: str | None) -> Any:
    """A model to predict with: an exported one on its engine, any other on Keras."""
    from maskrcnn import engines

    if engine in (None, "keras") and engines.recognise(name_or_path) is None:
        return _load_model(name_or_path)
    return engines.load(name_or_path, engine)


def _load_keras() -> None:
    """Imports Keras without TensorFlow's greeting, which goes straight to the process's stderr, whatever the log level.

    Raises:
        ImportError: where no backend is installed, saying what to install.
    """
    maskrcnn.backend.require()
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":  # with --debug, or by the user's wish
        return
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _devices() -> list[str]:
    import keras

    if keras.config.backend() in ("tensorflow", "jax"):
        return list(keras.distribution.list_devices())
    return [str(getattr(keras.ops.zeros(()), "device", "cpu"))]  # Keras lists no devices of the others


def _version_of(name: str) -> str:
    for distribution in (name, f"{name}-cpu"):  # `tensorflow-cpu` brings the module `tensorflow` too
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "of unknown version"


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):  # not on Windows
        return "unknown"


def _tell_error(error: Exception) -> None:
    """What a person needs of an error: what this package says on purpose in full, anything else shortened to one line."""
    context = getattr(error, "ctx", None)
    if hasattr(error, "format_message"):  # of the command line itself: a missing option, an unknown command
        text = error.format_message() + (f" See: {context.command_path} --help" if context else "")
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif _raised_here(error):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST_ERROR]} (--debug shows where)"
    errors.print(f"[bold red]Error:[/] {escape(text)}")


def _raised_here(error: Exception) -> bool:
    """Whether the error was raised by a line of this package, as a ValueError, OSError, ImportError or MemoryError."""
    frames = traceback.extract_tb(error.__traceback__)
    own = bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
    return own and isinstance(error, (ValueError, OSError, ImportError, MemoryError))


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    errors.print(f"[yellow]Warning:[/] {escape(str(message))}")
