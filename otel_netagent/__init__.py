"""OpenTelemetry-native node agent that finds intermittent container-network faults."""

__version__ = "0.1.0"
