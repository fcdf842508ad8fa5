"""`twinspike compare`, from a checkout: see twinspike/compare_backends.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("compare")
