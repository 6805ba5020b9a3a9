"""Cookies of network namespaces where these cannot be walked in the kernel: each is looked at by a file of its own.

An inode number is used again as soon as its namespace is gone, a cookie never. No file of procfs shows it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.proc.files import PROC
from otel_netagent.open_files import raise_shortage

_PROGRAM: Final = "identify"


class NetnsCookies:
    """Finds the cookie of the namespace that a process is in (bpf/netns_file.bpf.c), in some 10 us."""

    def __init__(self, kernel: KernelFacts) -> None:
        """Load the program. Raises BpfError."""
        self._one_question = threading.Lock()
        self._object = BpfObject(kernel.objects / "netns_file.bpf.o", (_PROGRAM,), kernel.custom_btf)
        try:
            self._object.load()
        except BaseException:
            self._object.close()
            raise

    def of(self, pid: int, proc: Path = PROC) -> tuple[int, int] | None:
        """Inode and cookie of a process's namespace; None where it has gone, or the kernel does not show it.

        Raises OSError where no file can be opened at all.
        """
        try:
            file = os.open(f"{proc}/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise_shortage(error)
            return None
        try:
            return self._identify(file)
        finally:
            os.close(file)

    def _identify(self, file: int) -> tuple[int, int] | None:
        with self._one_question:
            self._object.variable("descriptor")[0] = file
            if self._object.run(_PROGRAM):
                return None
            return self._object.variable("inode")[0], self._object.variable("cookie")[0]

    def close(self) -> None:
        """Take the program out of the kernel."""
        self._object.close()
