"""The far end: the real OpenTelemetry Collector, Prometheus and Loki, built once and run on loopback."""
