"""The agent with the real collector, Prometheus and Loki behind it, run with the files of collector-config/."""
