"""`twinspike inspect`, from a checkout: see twinspike/inspect_run.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("inspect")
