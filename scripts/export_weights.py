"""`twinspike export`, from a checkout: see twinspike/export_weights.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("export")
