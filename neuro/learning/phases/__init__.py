"""Rules that compare phases of one relaxing network: without a teacher, then with one."""
