"""The owner of each network namespace: a pod, a container, the host, or a namespace by name."""
