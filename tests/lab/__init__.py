"""Tests of the laboratory itself."""
