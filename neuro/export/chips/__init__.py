"""Targets that compute in integers."""
