"""`twinspike import`, from a checkout: see twinspike/import_weights.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("import")
