"""What the agent says of itself, by OpenTelemetry's SDK: on `/metrics`, and by OTLP."""
