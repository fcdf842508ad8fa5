"""`twinspike import`, from a checkout: see twinspike/import_weights.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("import")
