"""`twinspike inspect`, from a checkout: see twinspike/inspect_run.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("inspect")
