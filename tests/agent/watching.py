"""`inspector watch` beside an agent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lab.links import loopback
from lab.namespace import Namespace
from lab.truth import Family
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import INSPECTOR, Program
from tests.agent.running import Agent
from tests.agent.stage import nameless


@dataclass(frozen=True, slots=True)
class Watcher:
    """A running `inspector watch -v`."""

    program: Program

    def events(self, pods: Collection[str]) -> list[dict[str, str]]:
        """What it has printed so far of these."""
        events: list[dict[str, str]] = [json.loads(line) for line in self.program.out]
        return [event for event in events if event["meta"].partition(" ")[0].partition("/")[2] in pods]


@contextlib.contextmanager
def watching(agent: Agent) -> Iterator[Watcher]:
    """Watch the agent; when the block begins, events are coming through."""
    with Namespace() as namespace, Program([INSPECTOR, "watch", "-v", "-e", f"127.0.0.1:{agent.grpc}"]) as program:

        def comes_through() -> list[str]:
            closed_udp_port(nameless(loopback(namespace)), Family.IPV4)
            return program.out

        program.eventually(comes_through)
        yield Watcher(program)
