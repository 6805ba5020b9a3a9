"""The capabilities that a probe declares: with these it runs as with all of root's, and without any of them not."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otel_netagent.agent.requirements import OF_THE_AGENT, required_capabilities
from otel_netagent.probes import catalogue
from otel_netagent.probing.capability import Capability
from otel_netagent.probing.declaration import Probe

PROBES = catalogue()
HEADER = Path("/usr/include/linux/capability.h")
DOCS = Path(__file__).parents[2] / "docs"


@functools.cache
def started(capabilities: frozenset[Capability] | None) -> dict[str, list[str | None] | str]:
    """How each probe is attached, or why it is refused, with these capabilities; None: with all that root has."""
    prefix = [] if capabilities is None else _limited_to(capabilities)
    done = subprocess.run([*prefix, sys.executable, "-m", "tests.probes.starts"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, list[str | None] | str] = json.loads(done.stdout)
    return found


def _limited_to(capabilities: frozenset[Capability]) -> list[str]:
    bounds = ["-all", *(f"+{each.name.lower()}" for each in sorted(capabilities))]
    return ["setpriv", f"--bounding-set={','.join(bounds)}"]


def is_refused(ways: list[str | None] | str, in_full: list[str | None] | str) -> bool:
    """Whether it does not start, or has to do with procfs, or with nothing, what it does otherwise with all of them."""
    if isinstance(ways, str):
        return True
    return any(way in {None, "procfs"} and way != best for way, best in zip(ways, in_full, strict=True))


@pytest.fixture(params=[*PROBES.values()], ids=[*PROBES])
def probe(request: pytest.FixtureRequest, _root: None) -> Probe:
    probe: Probe = request.param
    if isinstance(started(None)[probe.name], str):
        pytest.skip(f"this kernel has not what it takes: {started(None)[probe.name]}")
    return probe


def test_with_what_it_declares_it_is_attached_as_with_all(probe: Probe) -> None:
    needed = frozenset(probe.capabilities)
    assert started(needed)[probe.name] == started(None)[probe.name]


def test_without_any_of_them_it_is_refused(probe: Probe) -> None:
    for capability in probe.capabilities:
        if capability is Capability.SYSLOG and _addresses_are_shown_to_all():
            continue
        left = frozenset(probe.capabilities) - {capability}
        assert is_refused(started(left)[probe.name], started(None)[probe.name]), capability


@pytest.mark.usefixtures("_root")
def test_the_agent_itself_sees_in_which_namespace_another_is_by_its_own_capability() -> None:
    """Of a process that has more capabilities than the agent, as this one has."""
    look = f"from otel_netagent.kernel.proc.processes import netns_of; print(netns_of({os.getpid()}))"
    for capabilities, seen in ((OF_THE_AGENT, Path("/proc/self/ns/net").stat().st_ino), (frozenset(), None)):
        command = [*_limited_to(capabilities), sys.executable, "-c", look]
        assert subprocess.check_output(command, text=True) == f"{seen}\n"


def _addresses_are_shown_to_all() -> bool:
    """kallsyms_show_value() (kernel/ksyms_common.c)."""
    restricted, paranoid = (
        int(Path("/proc/sys/kernel", name).read_text()) for name in ("kptr_restrict", "perf_event_paranoid")
    )
    return restricted == 0 and paranoid <= 1


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers are not installed")
def test_numbers_are_the_kernels() -> None:
    numbers = dict(re.findall(r"#define (CAP_\w+)\s+(\d+)", HEADER.read_text()))
    assert {str(each): str(each.value) for each in Capability}.items() <= numbers.items()


def test_the_agent_asks_for_what_the_necessary_probes_need() -> None:
    assert set(map(str, required_capabilities())) == {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"}


def test_the_page_names_what_is_needed() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8").partition("## What it needs")[2]
    sentence = page.partition("(`hostPID: true`")[0]
    necessary = (each for probe in PROBES.values() if probe.necessary for each in probe.capabilities)
    assert set(re.findall(r"CAP_\w+", sentence)) == set(map(str, {*OF_THE_AGENT, *necessary}))
