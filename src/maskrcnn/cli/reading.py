"""Options that say how annotations are read, for every command that takes a data set: one list, one meaning."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

_PANEL: dict[str, Any] = {"rich_help_panel": "Annotation format"}

READING: dict[str, Any] = {
    "format": Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the annotations: coco, yolo, voc … (docs/data.md). Default: recognized by content.",
            **_PANEL,
        ),
    ],
    "masks": Annotated[
        Literal["instances", "semantic", "binary"] | None,
        typer.Option(
            "--masks",
            metavar="instances|semantic|binary",
            help="Meaning of the values of label maps: object numbers, class numbers, or zero and nonzero.",
            **_PANEL,
        ),
    ],
    "classes": Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B,…",
            help="Class names, for data with only class numbers; otherwise the classes to keep, in order.",
            **_PANEL,
        ),
    ],
    "class_attribute": Annotated[
        str | None,
        typer.Option("--class-attribute", metavar="NAME", help="The region attribute that contains the class (VIA).", **_PANEL),
    ],
    "split": Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option("--split", metavar="train|val|test", help="Part of a data set that contains several.", **_PANEL),
    ],
    "crowds_are_objects": Annotated[
        bool,
        typer.Option("--crowds-are-objects", help="Read crowd regions as objects: CVAT marks brush masks as crowds.", **_PANEL),
    ],
}


def with_reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options above; it is called with `reading`, the arguments for `load_dataset` that were given."""

    def called(**values: Any) -> None:
        given = {name: values.pop(name) for name in READING}
        reading = {name: value for name, value in given.items() if value not in (None, False)}
        if "classes" in reading:
            reading["classes"] = [name.strip() for name in reading["classes"].split(",") if name.strip()]
        command(**values, reading=reading)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "reading"]
    made = [
        inspect.Parameter(name, keyword, default=False if name == "crowds_are_objects" else None, annotation=kind)
        for name, kind in READING.items()
    ]
    parameters = [each.replace(kind=keyword) for each in own] + made
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called
