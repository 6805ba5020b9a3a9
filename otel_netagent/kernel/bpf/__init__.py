"""eBPF: the binding to libbpf, loaded objects, and the types that fit them to the running kernel."""
