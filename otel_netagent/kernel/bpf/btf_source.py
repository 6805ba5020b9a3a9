"""Where the BTF of the running kernel is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


class BtfNotFound(Exception):
    """No BTF on this machine; the text lists where it was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class BtfSource:
    """A file with the running kernel's BTF. `in_kernel`: the kernel has it too, as iterators need."""

    path: Path
    in_kernel: bool


KERNEL_BTF: Final = Path("/sys/kernel/btf/vmlinux")


def candidates(release: str, extra: Path | None = None) -> Iterator[Path]:
    """Paths where BTF of the kernel `release` may be, best first; `extra` is a directory of the operator's."""
    yield KERNEL_BTF
    if extra:
        yield from (extra / f"vmlinux-{release}", extra / f"{release}.btf", extra / "vmlinux")
    boot = Path("/boot")
    yield from (boot / f"vmlinux-{release}", boot / "vmlinux", boot / f"{release}.btf")
    yield Path(f"/usr/lib/debug/lib/modules/{release}/vmlinux")
    modules = Path(f"/lib/modules/{release}")
    yield from (modules / "vmlinux", modules / "build/vmlinux", modules / f"{release}.btf")


def discover(extra: Path | None = None) -> BtfSource:
    """Find BTF for the running kernel. Raises BtfNotFound."""
    release = platform.release()
    paths = list(candidates(release, extra))
    for path in paths:
        if path.is_file():
            return BtfSource(path, in_kernel=KERNEL_BTF.is_file())
    raise BtfNotFound(
        f"no BTF for kernel {release}: looked in {', '.join(map(str, paths))}. "
        f"Boot a kernel with CONFIG_DEBUG_INFO_BTF=y, put its BTF at /boot/{release}.btf, "
        "or set enable_legacy_version to true, which makes BTF from the kernel's headers"
    )
