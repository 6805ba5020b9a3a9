"""Programs that do one thing and end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence


def run(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """With these variables on top of this process's own; what it wrote, and its exit code."""
    return subprocess.run(argv, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False)
