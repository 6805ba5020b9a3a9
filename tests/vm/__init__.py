"""Other kernels than the one that runs here: Debian's, booted in qemu with this machine's files."""
