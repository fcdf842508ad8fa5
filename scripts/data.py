"""`twinspike data`, from a checkout: see twinspike/data.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("data")
