"""Tests of eBPF: loading, types, and what comes back."""
