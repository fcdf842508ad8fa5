"""`twinspike bench`, from a checkout: see twinspike/bench.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("bench")
