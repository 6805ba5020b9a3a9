"""What probes are made of: their declaration, attach methods, what their eBPF programs share."""
