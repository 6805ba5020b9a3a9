"""Where the machine lacks something, the agent runs with the rest, and says what is missing and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.links import Pair
from lab.truth import Family
from otel_netagent.model.probe_status import ProbeState
from tests.agent.closed_ports import closed_tcp_port
from tests.agent.command import NETAGENT
from tests.agent.hiding import Covers, command_seeing, no_btf, no_libbpf, no_objects, no_symbols
from tests.agent.procfs_truth import collected_in_calm
from tests.agent.running import Agent
from tests.agent.stage import nameless

_BY_WALK = ("tcp", "tcpext", "udp")
_BY_EBPF = ("packetloss", "tcpreset")
_LEAST_CAPABILITIES = ("bpf", "perfmon", "sys_ptrace", "dac_read_search", "syslog")

LACKING = pytest.mark.parametrize(
    ("lacking", "walk", "reason"),
    [
        (no_btf, "procfs", "no BTF for kernel"),
        (no_libbpf, "procfs", "libbpf.so.1 cannot be loaded"),
        (no_objects, "procfs", "is missing: build it with `make bpf`"),
        (no_symbols, "iter/task", "/proc/kallsyms shows no addresses"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)


@LACKING
def test_numbers_are_the_same_without(
    lacking: Callable[[Path], Covers], walk: str, reason: str, tmp_path: Path, pair: Pair
) -> None:
    stage = nameless(pair)
    with Agent(tmp_path, command=command_seeing(lacking(tmp_path))) as agent:
        probes = agent.probes()
        for name in _BY_WALK:
            assert (probes[name].state, probes[name].hooks[0].way) == (ProbeState.RUNNING, walk)
        for name in _BY_EBPF:
            assert probes[name].state is ProbeState.UNAVAILABLE
            assert reason in probes[name].reason
            assert len(_warnings(agent, f" probe {name} is unavailable: ", reason)) == 1
            (row,) = re.findall(
                rf"^{name} +unavailable .*", agent.inspect("list", "probe", port=agent.http), re.MULTILINE
            )
            assert reason in row

        closed_tcp_port(stage, Family.IPV4)
        collected, expected_of_both = collected_in_calm(agent, list(stage.namespaces.values()))
        for pod, expected in zip(stage.namespaces, expected_of_both, strict=True):
            values = collected.of(pod)
            assert {name: values.get(name) for name in expected} == expected


def test_without_the_hosts_processes_it_says_what_is_missing(tmp_path: Path) -> None:
    """As in a pod without hostPID. The host's first process is another, so nothing of the host is seen."""
    own_processes = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", NETAGENT)
    with Agent(tmp_path, command=own_processes) as agent:
        (warning,) = _warnings(agent, "PID namespace")
        assert warning.endswith(
            " WARNING this is not the host's PID namespace: only processes in it are seen, and so hardly any pod; "
            "set `hostPID: true` in the pod's specification (of a container: `--pid=host`)"
        )


def test_runs_with_few_capabilities(tmp_path: Path) -> None:
    """No need of a privileged container."""
    bounds = ",".join(["-all", *(f"+{name}" for name in _LEAST_CAPABILITIES)])
    with Agent(tmp_path, command=("setpriv", f"--bounding-set={bounds}", NETAGENT)) as agent:
        probes = agent.probes()
        assert {probes[name].state for name in (*_BY_WALK, *_BY_EBPF)} == {ProbeState.RUNNING}
        assert {probes[name].hooks[0].way for name in _BY_WALK} == {"iter/task"}


def _warnings(agent: Agent, *words: str) -> list[str]:
    return [line for line in agent.err if " WARNING " in line and all(word in line for word in words)]
