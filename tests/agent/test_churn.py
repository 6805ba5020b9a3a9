"""Pods come and go all day: whatever the agent learns of one goes with it, in the agent and in the kernel."""

from __future__ import annotations

import contextlib
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from lab.links import ip_batch, loopback
from lab.namespace import Namespace
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.probes import catalogue
from tests.agent import kernel_objects
from tests.agent.closed_ports import closed_tcp_port, closed_udp_port
from tests.agent.running import Agent
from tests.agent.stage import nameless

_GENERATIONS = 10
_PODS = 200
"""Of each generation, which begins when all of the one before are gone."""

_GROWTH_BYTES = 5_000_000

_FORGOTTEN_WITHIN_S = 15.0
"""Late drops are waited for during some collections, of which there is one a second."""

_GIVEN_BACK_WITHIN_S = 75.0
"""Once a minute the agent gives back what is free between blocks in use (agent/memory.py)."""

_KEY = struct.Struct("=QQI")
"""How a key of bpf/include/occurrences.h begins: cookie of the namespace, place, inode."""


def test_two_thousand_pods_leave_nothing(tmp_path: Path, netns: Namespace) -> None:
    measuring = sorted(name for name, probe in catalogue().items() if probe.series)
    with Agent(tmp_path, metric={"probes": measuring}) as agent:
        churn = Churn(agent, netns)
        churn.live_and_go()  # one generation more, by which the agent takes the memory that so many pods at once need
        before = churn.memory_at_rest()
        for _ in range(_GENERATIONS):
            churn.live_and_go()
        # Lines that wait for standard error, and the kernel's types, take some MB for a moment.
        eventually(lambda: churn.memory_at_rest() - before < _GROWTH_BYTES, _GIVEN_BACK_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Churn:
    """An agent that meets generations of pods, each pod with a link to one neighbour."""

    agent: Agent
    neighbour: Namespace
    counted: set[int] = field(default_factory=set)
    """Cookies of the pods that the kernel has counted something for."""

    def live_and_go(self) -> None:
        """One generation: every pod has drops and resets, is collected and counted, and then is let go by everyone."""
        with contextlib.ExitStack() as stack:
            pods = [stack.enter_context(Namespace()) for _ in range(_PODS)]
            links = (f"link add veth{pod.pid} type veth peer name eth0 netns {pod.pid}" for pod in pods)
            ip_batch(self.neighbour, *links)
            stages = [nameless(loopback(pod)) for pod in pods]
            for stage in stages:
                closed_tcp_port(stage, Family.IPV4)
                closed_udp_port(stage, Family.IPV6)
            assert {stage.client for stage in stages} <= self.agent.next_collection().pods
            inodes = {pod.inode for pod in pods}
            met = {cookie: inode for cookie, inode in self._kernel_counts_for() if inode in inodes}
            assert set(met.values()) == inodes
            self.counted.update(met)
        # A device goes when its peer's namespace does.
        self.agent.eventually(lambda: "veth" not in self.neighbour.proc_net("dev"))

    def memory_at_rest(self) -> int:
        """Bytes of memory of the agent's own (proc_pid_status(5), RssAnon), when it is done with all pods."""
        eventually(self._is_at_rest, _FORGOTTEN_WITHIN_S)
        found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{self.agent.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def _is_at_rest(self) -> bool:
        """Whether no series is left, and in the kernel no entry."""
        spoken_of = re.findall(r'netns="ns(\d+)"', self.agent.get("/metrics")[1].decode())
        return set(map(int, spoken_of)) <= _living() and self.counted.isdisjoint(dict(self._kernel_counts_for()))

    def _kernel_counts_for(self) -> list[tuple[int, int]]:
        """Cookie and inode of the namespaces of all entries."""
        keys = kernel_objects.keys_of_maps(self.agent.pid, "occurrences")
        return [(cookie, inode) for cookie, _, inode in (_KEY.unpack_from(key) for key in keys)]


def _living() -> set[int]:
    """Inodes of the namespaces of all processes."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # it has ended
            found.add(link.stat().st_ino)
    return found
