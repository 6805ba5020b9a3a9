"""What is known of the running kernel: libbpf, BTF, symbols, procfs, the walk over its namespaces."""
