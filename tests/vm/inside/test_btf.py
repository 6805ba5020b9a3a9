"""BTF from a file, on a kernel whose own is hidden: it serves where it is the right one, and is refused where not."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lab import resets_sent
from lab.limits import Kernel, limited
from lab.links import loopback
from lab.namespace import Namespace
from lab.truth import Family
from otel_netagent.kernel.bpf.btf import BtfInvalid
from otel_netagent.kernel.bpf.btf_source import KERNEL_BTF
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import ProbeState
from otel_netagent.pipeline.kernel_access import OBJECTS
from tests.faults.expectation import expected, told
from tests.faults.observer import observing

_RELEASE: Final = platform.release()
_KERNEL: Final = Path("/run/vm/modules").resolve().parents[2]
"""Where tests/vm/kernels.py has unpacked the kernel that runs; the others are beside it."""


@pytest.fixture
def other() -> Path:
    """A kernel that does not run."""
    unpacked = sorted(path.resolve() for path in _KERNEL.parents[1].glob("*/current"))
    return next(path for path in unpacked if path != _KERNEL)


@pytest.fixture
def boot() -> Iterator[Path]:
    """/boot of a machine whose kernel has no BTF; what is put there is gone afterwards."""
    directory = Path("/boot")
    hidden = KERNEL_BTF.parent
    kept = KERNEL_BTF.read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "boot", directory], check=True)
    (directory / "own").write_bytes(kept)
    subprocess.run(["mount", "-t", "tmpfs", "hidden", hidden], check=True)
    yield directory
    subprocess.run(["umount", hidden], check=True)
    subprocess.run(["umount", directory], check=True)


def test_every_fault_of_a_closed_port_is_told_with_types_from_a_file(
    boot: Path, limiting_kernel: Kernel, netns: Namespace
) -> None:
    (boot / "own").rename(boot / f"{_RELEASE}.btf")
    scenario = next(scenario for scenario in resets_sent.ON_PAIR if scenario.name == "closed_port")
    with observing({"packetloss", "tcpreset", "tcp"}) as observer:
        truth = limited(limiting_kernel, scenario.play(loopback(netns), Family.IPV4))
        events, _ = observer.agreeing([netns.inode], lambda events: told(events, truth) >= expected(truth))
        states = {status.name: status for status in observer.probes.statuses}
        walk = observer.access.walk
    assert states["packetloss"].state is ProbeState.RUNNING
    assert states["tcpreset"].state is ProbeState.RUNNING
    assert {hook.way for hook in states["tcp"].hooks} == {"procfs"}
    assert walk.refused[0].reason == "iterators need BTF in the kernel itself"
    assert told(events, truth) == expected(truth)


def test_an_image_in_boot_serves(boot: Path) -> None:
    shutil.copy(_KERNEL / "vmlinux", boot / f"vmlinux-{_RELEASE}")
    facts = KernelFacts.find(OBJECTS)
    assert facts.custom_btf == boot / f"vmlinux-{_RELEASE}"
    assert facts.btf.has_member("net", "loopback_dev")


def test_an_image_of_another_kernel_is_refused_and_both_are_named(boot: Path, other: Path) -> None:
    shutil.copy(other / "vmlinux", boot / "vmlinux")
    with pytest.raises(BtfInvalid) as refused:
        KernelFacts.find(OBJECTS)
    assert str(refused.value).startswith(
        f"/boot/vmlinux: BTF of another kernel than the running {_RELEASE}: it is of {other.name}"
    )


def test_bare_types_of_another_kernel_are_refused_by_what_they_say(boot: Path, other: Path) -> None:
    detached = boot / f"{_RELEASE}.btf"
    dump = ("llvm-objcopy", f"--dump-section=.BTF={detached}", other / "vmlinux", "/dev/null")
    subprocess.run(dump, check=True)
    with pytest.raises(
        BtfInvalid, match=rf"^{re.escape(str(detached))}: BTF of another kernel than the running .*: by it, .* but is "
    ):
        KernelFacts.find(OBJECTS)


def test_half_a_file_is_refused(boot: Path) -> None:
    content = (boot / "own").read_bytes()
    (boot / f"{_RELEASE}.btf").write_bytes(content[: len(content) // 2])
    with pytest.raises(BtfInvalid, match=rf"^/boot/{re.escape(_RELEASE)}\.btf: no usable BTF: "):
        KernelFacts.find(OBJECTS)
