"""`twinspike fuzz`, from a checkout: see twinspike/fuzz.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("fuzz")
