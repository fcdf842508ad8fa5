"""`twinspike sweep`, from a checkout: see twinspike/sweep.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("sweep")
