"""What recordings of the tasks are on this machine, and how to get what isn't.

twinspike data --list
"""

from __future__ import annotations

from typing import Annotated

import typer

from twinspike import cli


def main(list_: Annotated[bool, typer.Option("--list", help="what is here; the only thing this does")] = True) -> None:
    """List the files that tasks are on: found, missing, or another file than the published one; and where to get them."""
    import tasks
    from tasks.files import FOLDER

    found = [(file, names, file.state) for file, names in tasks.sources().items()]
    rows = [(file.name, state, ", ".join(names), file.licence) for file, names, state in found]
    cli.table("recordings", ("file", "here", "tasks", "licence"), rows)
    for file, _, state in found:
        print(f"{file.path}" if state == "found" else f"{file.name}: {state}; get it: {file.source}")
    print(
        f"Files are looked for in the folder that {FOLDER} says (data/ where it says nothing), then where packages put them."
    )
