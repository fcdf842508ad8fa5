"""`twinspike import-brian2`, from a checkout: see twinspike/import_brian2.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("import-brian2")
