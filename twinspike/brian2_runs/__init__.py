"""Users' own Brian2 scripts: executed up to their first run, and compared with what is made of them here."""
