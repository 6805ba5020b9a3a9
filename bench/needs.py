"""What a benchmark needs of the machine. What is missing is said in one line at the start, with the remedy."""

from __future__ import annotations

import os
import shutil
from typing import Final

import click

_PACKAGES: Final = {"ip": "iproute2", "nft": "nftables", "sockperf": "sockperf", "taskset": "util-linux"}
"""Commands, and the packages of Debian that have them."""


def require_root(*commands: str) -> None:
    """Raise ClickException unless root runs this, and these commands are in PATH."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it makes network namespaces, and loads eBPF programs")
    if missing := [command for command in commands if not shutil.which(command)]:
        packages = " ".join(sorted({_PACKAGES[command] for command in missing}))
        raise click.ClickException(f"not found: {', '.join(missing)}; install (Debian: apt-get install {packages})")
