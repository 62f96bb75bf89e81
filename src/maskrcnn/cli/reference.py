"""The page of the documentation that lists every command and option, made from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from maskrcnn.cli.app import app

HEAD = """# Command line

`scripts/reference` makes this page from the commands; do not edit it by hand. `maskrcnn COMMAND --help` shows the same.
`maskrcnn --install-completion` sets up completion in your shell.
"""


def reference() -> str:
    """The whole page, in Markdown."""
    return HEAD + "".join(_sections(typer.main.get_command(app), "maskrcnn", 1))


def _sections(command: Any, name: str, depth: int) -> Iterator[str]:
    """A section for the command and each of its subcommands."""
    context = typer.Context(command, info_name=name)
    if depth > 1:
        yield f"\n{'#' * depth} `{name}`\n"
    yield f"\n{_paragraphs(command.help)}"
    yield f"\n```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```\n"
    yield from _parameters(command, context)
    subcommands = [command.commands[each] for each in command.list_commands(context)] if hasattr(command, "commands") else []
    if subcommands:
        yield "\n**Commands**\n\n"
        for each in subcommands:
            full = f"{name} {each.name}"
            yield f"- [`{full}`](#{full.replace(' ', '-')}): {_plain(each.help).partition(chr(10) * 2)[0]}\n"
    for each in subcommands:
        yield from _sections(each, f"{name} {each.name}", min(depth + 1, 3))
    if command.epilog:
        yield f"\n{_plain(command.epilog)}\n"


def _parameters(command: Any, context: Any) -> Iterator[str]:
    """Arguments, then options in the groups that `--help` shows."""
    groups: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is None or "--help" in parameter.opts:
            continue
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        spelled, text = record
        groups.setdefault(parameter.rich_help_panel or kind, []).append(f"- `{spelled}`: {_plain(text)}\n")
    for group, lines in groups.items():
        yield f"\n**{group}**\n\n{''.join(lines)}"


def _paragraphs(text: str) -> str:
    """A help text whose paragraphs that are commands become blocks of code."""
    parts = [f"```sh\n{part}\n```" if re.match(r"(maskrcnn|curl) .+$", part) else part for part in _plain(text).split("\n\n")]
    return "\n\n".join(parts).replace("\n```\n\n```sh\n", "\n") + "\n"


def _plain(text: str) -> str:
    """Rich's markup as Markdown, and pages of docs/ as links."""
    text = re.sub(r"\[bold\](.*?)\[/\]", r"`\1`", text)
    return re.sub(r"docs/(\w+)\.md", r"[\1](../\1.md)", text)
