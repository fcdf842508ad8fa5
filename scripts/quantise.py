"""`twinspike quantise`, from a checkout: see twinspike/quantise.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("quantise")
