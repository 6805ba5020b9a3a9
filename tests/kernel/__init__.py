"""Tests of what is known of the running kernel."""
