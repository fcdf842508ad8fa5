"""`twinspike data`, from a checkout: see twinspike/data.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("data")
