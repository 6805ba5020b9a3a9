"""Tests that need another kernel than the development machine's: run in each guest by tests/vm/test_kernels.py."""
