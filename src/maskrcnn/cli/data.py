"""`maskrcnn data`: what a data set holds, and how it varies in training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import maskrcnn
from maskrcnn.cli.console import console, tell
from maskrcnn.cli.models import load_model
from maskrcnn.cli.options import (
    DataArgument,
    ImagesOption,
    LooksOption,
    SizeOption,
    check_not_data,
)
from maskrcnn.cli.reading import with_reading_options

if TYPE_CHECKING:
    from maskrcnn.config.model import ModelConfig
    from maskrcnn.data.dataset import Dataset


@with_reading_options
def stats(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    images: ImagesOption = None,
    model: LooksOption = "mobilenet_v2_fpn",
    image_size: SizeOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the numbers to this file.")
    ] = None,
) -> None:
    """Count classes, measure objects, check the anchors, and suggest settings.

    maskrcnn data stats train.json
    """
    from maskrcnn.atomic import write_json
    from maskrcnn.doctor.stats import describe
    from maskrcnn.reports.tables import print_stats

    check_not_data(json_file, data, images)
    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    found = describe(dataset, _looked_at_by(model, image_size, dataset))
    if dataset.faults:
        tell(dataset.summary())
    print_stats(found, console)
    if json_file is not None:
        write_json(json_file, dataclasses.asdict(found))
        tell(f"Numbers written to {json_file}")


@with_reading_options
def preview(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The sheet of images to write, a PNG.")],
    augment: Annotated[
        str, typer.Option("--augment", metavar="none|flip|photos|microscopy", help="Data augmentation, as in training.")
    ] = "flip",
    images: ImagesOption = None,
    model: LooksOption = "mobilenet_v2_fpn",
    image_size: SizeOption = None,
    input_channels: Annotated[
        int, typer.Option("--input-channels", metavar="N", min=1, help="Channels of the images, if --model is a preset.")
    ] = 3,
    num_images: Annotated[
        int, typer.Option("--num-images", "--num-pictures", metavar="N", min=1, help="Images on the sheet.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same sheet.")] = 0,
) -> None:
    """Draw augmented images with their ground truth, as training will see them.

    maskrcnn data preview train.json --augment photos --out sheet.png
    """
    from maskrcnn.verbs.preview import preview as draw_preview

    check_not_data(out, data, images)
    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    image_config = _looked_at_by(model, image_size, dataset, input_channels).image
    draw_preview(dataset, out, augment=augment, image_config=image_config, num_images=num_images, seed=seed)
    tell(f"The sheet is in {out}")


def _looked_at_by(model: str, image_size: int | None, dataset: Dataset, input_channels: int = 3) -> ModelConfig:
    """The settings of a preset for this data, or of a model; Keras is loaded for a model alone."""
    from maskrcnn.config import fields, presets
    from maskrcnn.weights.published import SHIPPED

    if model in presets.PRESETS:
        config = presets.preset(model, dataset.categories, input_channels=input_channels)
    elif Path(model).exists() or model in SHIPPED:
        config = load_model(model).config
    else:
        known = ", ".join(presets.PRESETS)
        raise ValueError(f"--model is a preset ({known}), a run folder or a .keras file; there is no {model!r}.")
    if image_size is not None:
        config = fields.replace(config, image__short_side=image_size, image__long_side=round(image_size * 5 / 3))
    return config
