"""`twinspike report`, from a checkout: see twinspike/report.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("report")
