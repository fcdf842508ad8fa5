"""`twinspike bench`, from a checkout: see twinspike/bench.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("bench")
