"""The HTTP port: `/metrics` for Prometheus, `/status`, and pages for debugging."""
