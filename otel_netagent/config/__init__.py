"""The configuration: the schema of its file, reading it with clear errors, and detecting changes."""
