"""`twinspike reproduce`, from a checkout: see twinspike/reproduce.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("reproduce")
