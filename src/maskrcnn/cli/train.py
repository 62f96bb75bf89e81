"""`maskrcnn train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import maskrcnn
from maskrcnn.cli.console import tell, verbosity
from maskrcnn.cli.models import load_keras
from maskrcnn.cli.options import (
    ABOUT_DATA,
    DATA_HELP,
    IN_DETAIL,
    ImagesOption,
    StrictOption,
    parse_class_weights,
    parse_settings,
)


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
        "class_weights": parse_class_weights(class_weights),
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
    load_keras()
    given |= parse_settings(changes)
    maskrcnn.train(data, val, out, resume=resume, strict=strict, log=tell, verbose=verbosity(), **given)
    tell(f"The run is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")
