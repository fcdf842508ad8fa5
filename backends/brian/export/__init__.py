"""Networks for those who work in Brian2: as scripts, and trained numbers in their own objects."""
