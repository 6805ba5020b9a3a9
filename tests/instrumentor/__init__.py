"""Embedding the probes."""
