"""`twinspike merge`, from a checkout: see twinspike/merge.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("merge")
