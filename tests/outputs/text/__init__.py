"""Tests of lines of text."""
