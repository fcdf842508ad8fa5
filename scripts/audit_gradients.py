"""`twinspike audit`, from a checkout: see twinspike/audit_gradients.py."""

from twinspike.__main__ import main

if __name__ == "__main__":
    main("audit")
