"""Tests of the readers of procfs."""
