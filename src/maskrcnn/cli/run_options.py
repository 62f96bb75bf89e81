"""Options of the command line from the fields of `RunConfig`: name, help, default and range are written there alone."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_type_hints

import typer

from maskrcnn.config.run import RunConfig, about


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of `RunConfig` in the place of its `**settings`.

    It is called with those alone that were given; what is left out is `RunConfig`'s to say.
    """

    def called(**values: Any) -> None:
        command(
            **{
                name: value
                for name, value in values.items()
                if name not in options or (value is not None and value is not False)
            }
        )

    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = {field.name: _option(field) for field in dataclasses.fields(RunConfig) if about(field).metavar}
    keyword = inspect.Parameter.KEYWORD_ONLY
    made = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in options.items()]
    parameters = [each.replace(kind=keyword) for each in own] + made
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


def _option(field: dataclasses.Field[Any]) -> Any:
    """The annotation that typer makes an option of: its type, and what is said of it."""
    text = about(field)
    metavar = "|".join(text.choices) if text.choices else text.metavar
    extra: dict[str, Any] = {"help": _help(field), "rich_help_panel": text.group or None, "metavar": metavar}
    kind = _kind(field)
    if kind is bool:
        return Annotated[bool, typer.Option(f"--{_spelled(field)}", help=text.help, rich_help_panel=text.group or None)]
    if kind in (int, float):
        extra |= {"min": text.least, "max": text.most}
    if kind is Path:
        extra |= {"exists": True, "file_okay": False}
    return Annotated[Union[kind, None], typer.Option(f"--{_spelled(field)}", **extra)]  # noqa: UP007


def _kind(field: dataclasses.Field[Any]) -> Any:
    text, hint = about(field), get_type_hints(RunConfig)[field.name]
    kinds = get_args(hint) or (hint,)
    if text.choices:
        return Literal[text.choices]
    if text.metavar == "N|all":
        return str
    if text.metavar == "DIR":
        return Path
    if any(get_args(kind) == (str,) for kind in kinds):  # a sequence of words: the option is repeated
        return list[str]
    return next(kind for kind in (bool, int, float, str) if kind in kinds)


def _help(field: dataclasses.Field[Any]) -> str:
    text, default = about(field).help, field.default
    if default in (None, (), "auto") or "Default:" in text:
        return text
    return f"{text} Default: {f'{default:g}' if isinstance(default, (int, float)) else default}."


def _spelled(field: dataclasses.Field[Any]) -> str:
    return field.name.replace("_", "-")
