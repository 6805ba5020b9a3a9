"""Events pushed to Loki, where no collector stands between."""
