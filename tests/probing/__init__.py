"""Tests of what probes are made of."""
