"""Tests of the OTLP output, against real receivers."""
