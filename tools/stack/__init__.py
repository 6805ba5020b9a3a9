"""The far end: the real OpenTelemetry Collector, Prometheus and VictoriaLogs, built once and run on loopback."""
