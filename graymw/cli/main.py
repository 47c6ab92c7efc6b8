"""The ``graymw`` command. Each command is a module of this package, loaded when it is called.

Exit codes: 0 all is well, 1 a problem was found, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from graymw.cli.outcome import exit_code_of

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "Run a chain of services on this machine and watch a gray release at work.",
    "check": "Find everything that is wrong with a rule document, or with this environment.",
    "explain": "Show which version one request gets, and why.",
    "simulate": "Decide for many users and compare the shares with those asked for.",
    "set": "Give versions of a release their shares.",
    "enable": "Switch releases on again.",
    "disable": "Switch releases off: everyone is on stable.",
    "promote": "Make a gray version the stable one.",
    "rollback": "Put everyone on stable at once, or bring an earlier document back.",
    "publish": "Put a whole rule document in the place of the one in force.",
    "history": "Show the last changes of the rules, newest first.",
    "watch": "Write a line whenever the rules change.",
    "diff": "Show who moves between versions: how many requests of each release, from where to where.",
    "bucket": "Show the buckets of keys, and which version a split gives them.",
    "status": "Show what graymw does here: settings, rules, running processes.",
}
"""Commands in the order of the help. ``graymw.cli.NAME`` has the function ``command``."""


class LazyCommands(TyperGroup):
    """Knows all commands by name and summary, and loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Command that the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _loaded(str(name)), rest

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; in ``standalone_mode``, the default, end the process with the exit code."""
        standalone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        work = functools.partial(super().main, *args, **kwargs)
        return sys.exit(exit_code_of(work)) if standalone else work()


def _loaded(name: str) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name)(importlib.import_module(f"graymw.cli.{name}").command)
    return typer.main.get_command(single)


app: Final = typer.Typer(
    cls=LazyCommands,
    help="Gray release (canary, full-link) for Python services.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms that no other use of the command needs

        typer.echo(f"graymw {version('graymw')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _group(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; default: those of the process.

    Returns:
        The exit code.
    """
    return exit_code_of(
        lambda: typer.main.get_command(app).main(args=arguments, prog_name="graymw", standalone_mode=False)
    )
