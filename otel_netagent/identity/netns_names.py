"""Names that `ip netns` gave to network namespaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from otel_netagent.open_files import raise_shortage

NETNS_DIR = Path("/run/netns")
"""Where `ip netns add` mounts each namespace under its name (ip-netns(8))."""

_ANY_NAMESPACE = Path("/proc/self/ns/net")


def by_netns(directory: Path = NETNS_DIR) -> Mapping[int, str]:
    """Name of each named network namespace, by its inode number; the first in the alphabet if it has several.

    A file that is no mounted namespace, as a deletion that failed halfway leaves behind, is ignored: it is
    not on nsfs, the file system that all namespaces share. Nothing is opened, which would keep the namespace alive.
    Raises OSError where the directory cannot be opened for want of descriptors.
    """
    try:
        files = sorted(directory.iterdir(), reverse=True)
        nsfs = _ANY_NAMESPACE.stat().st_dev
    except OSError as error:
        raise_shortage(error)
        return {}
    return {status.st_ino: _text(file) for file in files if (status := _stat(file)) and status.st_dev == nsfs}


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _text(file: Path) -> str:
    """The name as text that every output can encode: a file name may be any bytes."""
    return os.fsencode(file.name).decode(errors="replace")
