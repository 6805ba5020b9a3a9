"""An agent that pushes to Loki, by keys of its configuration that change while it runs, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.truth import Family
from otel_netagent.outputs.loki.address import OWN_NAMESPACE
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import NETAGENT, NODE, Program
from tests.agent.running import Agent, configuration
from tests.agent.stage import await_known, named_pair
from tests.outputs.loki.entry import Entry
from tests.outputs.loki.server import Loki, serving


class _Changeable(Agent):
    """An agent whose `event_config` can be changed."""

    def __init__(self, directory: Path) -> None:
        self._file = configuration(directory)
        self._sections: dict[str, dict[str, Any]] = json.loads(self._file.read_text())
        self.http, self.grpc = (int(self._sections[name]["port"]) for name in ("metric_config", "event_config"))
        Program.__init__(self, [NETAGENT, "run", "-c", str(self._file)])

    def change(self, until: str, **settings: object) -> None:
        """Have these settings too, and wait for a line."""
        before = len(self.err)
        self._sections["event_config"] |= settings
        self._file.write_text(json.dumps(self._sections))
        self.eventually(lambda: [line for line in self.err[before:] if until in line])


def _of(loki: Loki, pod: str) -> list[Entry]:
    """What happened to it, without what its kernel does of itself."""
    return [entry for entry in loki.entries if entry.metadata.get("pod") == pod and "NO_SOCKET" in entry.line]


def _own(agent: Agent, name: str, **labels: str) -> float:
    """A number that the agent has of itself."""
    families = text_string_to_metric_families(agent.get("/metrics")[1].decode())
    (value,) = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels == {"node": NODE, **labels}
    ]
    return value


def test_push_begins_and_ends_by_the_configuration(tmp_path: Path) -> None:
    with serving(Loki()) as loki, named_pair() as stage, _Changeable(tmp_path) as agent:
        await_known(agent, stage)
        closed_udp_port(stage, Family.IPV4)
        agent.eventually(lambda: agent.told(stage.server))
        agent.change("loki_enable false -> true", loki_enable=True, loki_address=f"127.0.0.1:{loki.port}")
        closed_udp_port(stage, Family.IPV4, times=3)
        agent.eventually(lambda: len(_of(loki, stage.server)) == 3)
        told = {line for line in agent.err if f"pod={stage.server} " in line}
        assert {entry.line for entry in _of(loki, stage.server)} <= told

        agent.eventually(lambda: _own(agent, "netagent_delivery_delivered_total", delivery="Loki") >= 3)
        agent.change("loki_enable true -> false", loki_enable=False)
        closed_udp_port(stage, Family.IPV4)
        agent.eventually(lambda: len([each for each in agent.told(stage.server) if not each.is_routine]) == 5)
        assert len(_of(loki, stage.server)) == 3
        assert _own(agent, "netagent_delivery_delivered_total", delivery="Loki") >= 3, "what was counted stays"
        assert _own(agent, "netagent_delivery_queued", delivery="Loki") == 0


@pytest.mark.skipif(OWN_NAMESPACE.exists(), reason="in Kubernetes, the Service is looked for")
def test_no_address_outside_kubernetes_is_refused(tmp_path: Path) -> None:
    problem = "event_config.loki_address is empty, which means the Service grafana-loki in the agent's own namespace"
    file = configuration(tmp_path, event={"loki_enable": True})
    with Program([NETAGENT, "run", "-c", str(file)]) as program:
        assert program.wait() == 1
        assert [line for line in program.err if line.startswith(f"otel-netagent: {problem}")]
    with _Changeable(tmp_path) as agent:
        agent.change(problem, loki_enable=True)
        agent.eventually(lambda: [line for line in agent.err if "is refused: the agent goes on" in line])


def test_what_the_agent_says_of_itself(agent: Agent) -> None:
    agent.eventually(lambda: _own(agent, "netagent_collection_duration_seconds_count") > 1)
    assert _own(agent, "netagent_probe_state", probe="tcp", state="running") == 1
    assert _own(agent, "netagent_entities", kind="host") == 1
    assert 0 < _own(agent, "process_cpu_time_seconds_total", cpu_mode="user") <= agent.cpu_seconds()
    assert _own(agent, "process_memory_usage_bytes") > 10 << 20
