"""What every probe asks of the running kernel, found out once at start."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass
from pathlib import Path

from otel_netagent.kernel.bpf import btf_trial, header_types
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.btf_source import BtfNotFound, BtfSource, discover
from otel_netagent.kernel.symbols import Symbols


def find_types(extra: Path | None = None, *, legacy: bool = False) -> BtfSource:
    """BTF of the running kernel; where there is none, and if `legacy`, what its headers say.

    `extra` is a directory to look in. Raises BtfNotFound, or LibbpfMissing.
    """
    try:
        return discover(extra)
    except BtfNotFound:
        if not legacy:
            raise
        return header_types.from_headers()


@dataclass(frozen=True)
class KernelFacts:
    """The running kernel: its types, its symbols, and where our eBPF objects for it lie."""

    source: BtfSource
    objects: Path

    @classmethod
    def find(cls, objects: Path, extra_btf: Path | None = None, *, legacy: bool = False) -> KernelFacts:
        """Find types (as `find_types`) and read them. Raises BtfNotFound, BtfInvalid or LibbpfMissing."""
        facts = cls(find_types(extra_btf, legacy=legacy), objects)
        types = facts.btf
        if not facts.source.in_kernel:
            btf_trial.confirm(facts.source.path, types, objects)
        return facts

    @property
    def release(self) -> str:
        """As `uname -r`."""
        return platform.release()

    @property
    def custom_btf(self) -> Path | None:
        """The file that libbpf must take types from, where the kernel has none itself."""
        return None if self.source.in_kernel else self.source.path

    @functools.cached_property
    def btf(self) -> Btf:
        """Types of the kernel, read when asked for. Raises BtfInvalid, LibbpfMissing."""
        return Btf.load(self.source)

    def forget_types(self) -> None:
        """Drop what only starting probes ask for: 6 MB, which libbpf reads again within 10 ms."""
        self.__dict__.pop("btf", None)

    @functools.cached_property
    def symbols(self) -> Symbols:
        """Kernel symbols, read when first asked for. Raises SymbolsUnreadable."""
        return Symbols()
