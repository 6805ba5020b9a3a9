"""Tests of whose a network namespace is."""
