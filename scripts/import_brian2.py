"""`twinspike import-brian2`, from a checkout: see twinspike/import_brian2.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("import-brian2")
