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
    """Name of each named network namespace, by inode number; the alphabetically first if it has several.

    A file that is not a mounted namespace, as a failed deletion leaves it behind, is ignored: it is not on nsfs, the
    file system of all namespaces. Nothing is opened, since that would keep the namespace alive.
    Raises OSError if the directory cannot be opened because no file descriptor is free.
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
    """The name as text that every output can encode: a file name may contain any bytes."""
    return os.fsencode(file.name).decode(errors="replace")
