"""OTLP: snapshots and events as messages of the OpenTelemetry protocol, and the transports for them."""
