"""Benchmarks: each module is one command that prints a table; figures of one run are comparable with each other."""
