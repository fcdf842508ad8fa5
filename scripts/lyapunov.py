"""`twinspike lyapunov`, from a checkout: see twinspike/lyapunov.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("lyapunov")
