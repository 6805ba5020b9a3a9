"""What this process holds of eBPF, by the kernel's own account: its file descriptors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_PREFIX = "anon_inode:"
_KINDS = {"bpf-prog": "program", "bpf-map": "map", "bpf_link": "link"}


def held() -> Counter[str]:
    """How many programs, maps and links: each is in the kernel as long as somebody has a descriptor of it."""
    targets = (str(descriptor.readlink()) for descriptor in Path("/proc/self/fd").iterdir() if descriptor.is_symlink())
    return Counter(_KINDS[name] for target in targets if (name := target.removeprefix(_PREFIX)) in _KINDS)
