"""Pushing events to Loki, held against servers that take nothing else than its documented API."""
