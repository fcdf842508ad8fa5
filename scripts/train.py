"""`twinspike train`, from a checkout: see twinspike/train.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("train")
