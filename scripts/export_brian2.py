"""`twinspike export-brian2`, from a checkout: see twinspike/export_brian2.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("export-brian2")
