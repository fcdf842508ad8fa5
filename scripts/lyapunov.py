"""`twinspike lyapunov`, from a checkout: see twinspike/lyapunov.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("lyapunov")
