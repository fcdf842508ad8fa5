"""`twinspike simulate`, from a checkout: see twinspike/simulate.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("simulate")
