"""`twinspike quantise`, from a checkout: see twinspike/quantise.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("quantise")
