"""Tests of the port for Prometheus."""
