"""OTLP: snapshots and events as the OpenTelemetry protocol's messages, and the ways to send them."""
