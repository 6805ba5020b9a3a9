"""The probes, one module each: what it declares, how it attaches, how it reads."""
