"""NIR files: read, written for each of their readers, and linted."""
