"""Calls spread over worker processes: on this machine by joblib's executor, or over a cluster by Ray. See docs/distributed.md."""
