"""`twinspike fuzz`, from a checkout: see twinspike/fuzz.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("fuzz")
