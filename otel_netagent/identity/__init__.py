"""Whose a network namespace is: pod, container, host, or a namespace by name."""
