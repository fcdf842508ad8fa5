"""`twinspike merge`, from a checkout: see twinspike/merge.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("merge")
