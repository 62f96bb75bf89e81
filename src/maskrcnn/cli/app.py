"""The command `maskrcnn`: arguments in, one verb called, readable lines out.

The commands are plain functions, one file a verb; they are registered here. Keras and its backend are imported inside them, so
that `maskrcnn --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import maskrcnn
from maskrcnn.cli.benchmark import benchmark
from maskrcnn.cli.console import console, tell_error, tell_stop, tell_warning
from maskrcnn.cli.convert import EPILOG, convert
from maskrcnn.cli.data import preview, stats
from maskrcnn.cli.data_check import check_data, view_data
from maskrcnn.cli.data_sets import convert_data, merge_data, sample_data, select_data, split_data
from maskrcnn.cli.demo import demo
from maskrcnn.cli.evaluate import evaluate
from maskrcnn.cli.export import export
from maskrcnn.cli.info import info
from maskrcnn.cli.inspect import inspect
from maskrcnn.cli.predict import predict
from maskrcnn.cli.serve import serve
from maskrcnn.cli.track import track
from maskrcnn.cli.train import train
from maskrcnn.interrupts import exit_code, signals_as_errors


class Commands(TyperGroup):
    """Every failure becomes one line on stderr and exit code 2; `--debug`, wherever it stands, shows the traceback too."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in arguments
        if debug:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        else:
            warnings.showwarning = tell_warning
        try:
            words = [word for word in arguments if word != "--debug"]
            code = super().main(words, *rest, **(extra | {"standalone_mode": False}))
        except Exception as error:
            if debug:
                traceback.print_exc()
            tell_error(error)
            code = 2
        sys.exit(code)

    def invoke(self, context: Any) -> Any:
        """Ctrl-C and the signals that end a process say in one line what is kept; the exit code is 130, 143 or 129."""
        try:
            with signals_as_errors():
                return super().invoke(context)
        except KeyboardInterrupt as stop:
            tell_stop(stop)
            raise typer.Exit(exit_code(stop)) from stop


app = typer.Typer(
    cls=Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Inspect, check, split, merge and convert data sets.")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    _: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and the backend's own messages.")] = False,
) -> None:
    """Mask R-CNN for Keras: find every object in an image, with its class, box and mask.

    [bold]maskrcnn demo[/] shows a prediction and a training run in a few minutes, without data or downloads.
    """
    if show_version:
        console.print(f"maskrcnn {maskrcnn.__version__}")
    elif context.invoked_subcommand is None:
        console.print(context.get_help())


app.command()(train)
app.command()(evaluate)
app.command()(track)
app.command()(predict)
app.command()(inspect)
app.command(epilog=EPILOG)(convert)
app.command()(export)
app.command()(benchmark)
app.command()(serve)
app.command()(demo)
app.command()(info)
app.add_typer(data_app, name="data")
data_app.command()(stats)
data_app.command()(preview)
data_app.command("check")(check_data)
data_app.command("view")(view_data)
data_app.command("convert")(convert_data)
data_app.command("split")(split_data)
data_app.command("merge")(merge_data)
data_app.command("select")(select_data)
data_app.command("sample")(sample_data)
