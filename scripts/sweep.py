"""`twinspike sweep`, from a checkout: see twinspike/sweep.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("sweep")
