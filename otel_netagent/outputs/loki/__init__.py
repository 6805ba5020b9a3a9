"""Events pushed to Loki directly, without a collector."""
