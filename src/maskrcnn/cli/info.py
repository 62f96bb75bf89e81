"""`maskrcnn info`: versions and devices, or a model."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

import maskrcnn
from maskrcnn.backend import installed
from maskrcnn.cli.console import console, tell
from maskrcnn.cli.models import load_keras, load_model

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN


def info(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="A run folder, a .keras file, or nuclei. Without it: versions and devices."),
    ] = None,
) -> None:
    """Show versions, backend and devices; or a model's layers, parameters, classes and preprocessing."""
    if model is not None:
        _print_model(load_model(model))
        return
    load_keras()

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
    tell(f"Parameters: {model.count_params():,}")
    if config.origin:
        tell(f"Weights: {config.origin}")
    tell(f"Classes ({config.num_classes}): {', '.join(config.class_names)}")
    if config.detect.best_scores:
        shown = zip(config.class_names, config.detect.best_scores)
        tell(f"Best scores, for --score auto: {', '.join(f'{name} {score:.3f}' for name, score in shown)}")
    tell(
        f"Preprocessing: shorter side {image.short_side} pixels, longer at most {image.long_side}; "
        f"{image.channel_order.upper() if image.channels == 3 else f'{image.channels} channels'}, mean {image.mean}, "
        f"standard deviation {image.std} (0 to 255)"
    )


def _counts(variables: Iterable[Any], part: Any) -> tuple[str, str]:
    """Numbers of parameters, and of those that training changes."""
    trainable = {variable.path for variable in part.trainable_variables}
    sizes = {variable.path: math.prod(variable.shape) for variable in variables}
    return f"{sum(sizes.values()):,}", f"{sum(size for path, size in sizes.items() if path in trainable):,}"


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
