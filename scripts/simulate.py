"""`twinspike simulate`, from a checkout: see twinspike/simulate.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("simulate")
