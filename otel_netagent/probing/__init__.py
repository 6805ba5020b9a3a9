"""What probes are made of: their declaration, ways to attach, what their eBPF programs share."""
