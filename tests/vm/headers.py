"""Headers of a kernel of Debian, unpacked beside it, as its packages would install them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.vm.kernels import Apt, Kernel, locked


def obtain(kernel: Kernel) -> Path:
    """A directory with `usr/src` and `lib/modules/RELEASE` of the packages. Raises KernelUnobtainable."""
    headers = kernel.root / "headers"
    with locked(kernel.root / "headers.lock"):
        if not headers.exists():
            with tempfile.TemporaryDirectory(dir=kernel.root) as directory:
                work = Path(directory)
                apt = Apt(kernel.suite, work)
                apt.update()
                apt.unpack(apt.headers(kernel.release), work / "files")
                (work / "files").rename(headers)
    return headers
