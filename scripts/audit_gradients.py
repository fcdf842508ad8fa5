"""`twinspike audit`, from a checkout: see twinspike/audit_gradients.py."""

from twinspike.__main__ import run

if __name__ == "__main__":
    run("audit")
