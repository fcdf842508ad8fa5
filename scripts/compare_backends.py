"""`twinspike compare`, from a checkout: see twinspike/compare_backends.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("compare")
