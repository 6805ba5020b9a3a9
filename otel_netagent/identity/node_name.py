"""The name of this node."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path


def node_name(environ: Mapping[str, str]) -> str:
    """Name of this node: NODE_NAME, else the host name from /etc/hostname, else the kernel's."""
    if name := environ.get("NODE_NAME", "").strip():
        return name
    with contextlib.suppress(OSError):
        if name := Path("/etc/hostname").read_text(encoding="utf-8", errors="replace").strip():
            return name
    return Path("/proc/sys/kernel/hostname").read_text(encoding="utf-8", errors="replace").strip()
