"""A page about a run: what `report.py` writes."""
