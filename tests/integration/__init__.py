"""The agent with the real collector, Prometheus and VictoriaLogs behind it, run with the files of collector-config/."""
