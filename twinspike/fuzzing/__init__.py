"""Differential testing: random networks over the whole language, and oracles that every backend must satisfy."""
