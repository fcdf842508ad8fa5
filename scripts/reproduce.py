"""`twinspike reproduce`, from a checkout: see twinspike/reproduce.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("reproduce")
