"""The agent's own telemetry, made with OpenTelemetry's SDK: on `/metrics`, and over OTLP."""
