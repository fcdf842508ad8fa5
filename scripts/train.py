"""`twinspike train`, from a checkout: see twinspike/train.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("train")
