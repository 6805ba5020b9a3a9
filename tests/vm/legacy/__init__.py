"""Tests that run in a guest with headers of its kernel and without BTF: see without_btf.sh."""
