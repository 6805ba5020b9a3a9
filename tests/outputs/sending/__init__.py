"""Tests of delivery: the spool's format, the spool, and everything together against real receivers."""
