"""`twinspike export-brian2`, from a checkout: see twinspike/export_brian2.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("export-brian2")
