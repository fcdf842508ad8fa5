"""The command `twinspike`, which needs the packages of an extra: see twinspike/commands.py for what it does."""

from __future__ import annotations

import sys


def main(*given: str) -> None:
    """The command line of this process. given: the subcommand, where a script stands for it."""
    try:
        from twinspike.commands import run
    except ModuleNotFoundError as error:
        from neuro.registry import EXTRAS, missing, package_of

        if EXTRAS.get(package_of(error)) != "cli":
            raise
        sys.exit(f"error: {missing('the command twinspike', package_of(error))}")
    run(*given)


if __name__ == "__main__":
    main()
