"""`twinspike export`, from a checkout: see twinspike/export_weights.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("export")
