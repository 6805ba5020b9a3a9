"""The port for Prometheus: what a scrape answers, the status, and the pages for debugging."""
