"""Subcommands of `twinspike`; the module of each is loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer

from twinspike import launching

COMMANDS: Mapping[str, str] = {
    "train": "train",
    "compare": "compare_backends",
    "inspect": "inspect_run",
    "report": "report",
    "export": "export_weights",
    "import": "import_weights",
    "quantise": "quantise",
    "simulate": "simulate",
    "audit": "audit_gradients",
    "lyapunov": "lyapunov",
    "sweep": "sweep",
    "merge": "merge",
    "import-brian2": "import_brian2",
    "export-brian2": "export_brian2",
    "bench": "bench",
    "reproduce": "reproduce",
    "fuzz": "fuzz",
    "data": "data",
    "doctor": "doctor",
}  # -> module of this package, with a function `main`


class _Commands(typer.core.TyperGroup):
    """Subcommands that are imported one by one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        app = typer.Typer(add_completion=False)
        app.command(cmd_name)(import_module(f"twinspike.{COMMANDS[cmd_name]}").main)
        return typer.main.get_command(app)


app = typer.Typer(cls=_Commands, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def _about() -> None:
    """Spiking networks written once, as equations with units: trained, compared on every backend, exported to hardware.

    What is installed, and what isn't: twinspike doctor.
    """


def run(*given: str) -> None:
    """The command line of this process. given: the subcommand, where a script stands for it."""
    launching.run(app, [*given, *sys.argv[1:]])
