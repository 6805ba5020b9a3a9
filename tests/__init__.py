"""Tests of otel-netagent."""
