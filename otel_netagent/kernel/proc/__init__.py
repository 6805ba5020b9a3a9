"""procfs: one file a table."""
