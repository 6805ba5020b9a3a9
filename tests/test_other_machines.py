"""The eBPF sources compile for arm64 too, and only what reads registers differs: the programs at kprobes.

That is as far as it can be seen without such a machine: no verifier of one has looked at them.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from otel_netagent.pipeline.kernel_access import OBJECTS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def for_arm64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("aarch64")
    make = ("make", "bpf", "MACHINE=aarch64", f"OBJECTS={directory}")
    warnings = subprocess.run(make, cwd=ROOT, check=True, text=True, stderr=subprocess.PIPE).stderr
    assert not warnings
    return directory


def test_every_source_compiles_without_a_warning(for_arm64: Path) -> None:
    sources = {source.stem for source in (ROOT / "bpf").glob("*.bpf.c")}
    assert {path.stem for path in for_arm64.glob("*.bpf.o")} == sources


def test_all_programs_but_those_at_kprobes_are_the_same(for_arm64: Path) -> None:
    different: set[str] = set()
    for path in for_arm64.glob("*.bpf.o"):
        other, own = code_by_section(path), code_by_section(OBJECTS / path.name)
        assert other.keys() == own.keys()
        different |= {section for section in own if own[section] != other[section]}
    assert all(section.startswith(("kprobe/", "kretprobe/")) for section in different), different
    assert different


def code_by_section(path: Path) -> dict[str, str]:
    """The disassembly of each section with code, without the names of symbols."""
    shown = subprocess.run(["llvm-objdump", "-d", path], check=True, capture_output=True, text=True).stdout
    _, *sections = re.split(r"^Disassembly of section (\S+):$", shown, flags=re.MULTILINE)
    return dict(zip(sections[::2], sections[1::2], strict=True))
