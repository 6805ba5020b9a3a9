"""What `/status` says of the outputs."""

from __future__ import annotations

import json

from otel_netagent.agent.output_statuses import output_statuses
from otel_netagent.config.schema import Config, EventConfig, settings_of
from otel_netagent.model.output_status import OutputStatus
from otel_netagent.outputs.catalogue import catalogue
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.sending import NO_POD, Cause, Delivery, DeliveryStatistics, Limits, PodName, close_all
from otel_netagent.outputs.sending.sender import Sender
from tests.agent.running import Agent
from tests.outputs.sending.numbers import Numbers, Steady


def _tally(**dropped: int) -> DeliveryStatistics:
    by_cause = dict.fromkeys(Cause, 0) | {Cause(name): count for name, count in dropped.items()}
    by_pod = {(Cause(name), NO_POD if count > 5 else PodName("shop", "web")): count for name, count in dropped.items()}
    return DeliveryStatistics(9, by_cause, by_pod, 0, 0, 0)


def test_each_has_its_place_and_its_losses() -> None:
    deliveries = {"OTLP logs": _tally(rejected=3, spool_full=7), "Loki": _tally(shutdown=2)}
    agent_state = AgentState(deliveries=deliveries, lost_event_lines=4, lost_log_lines=100)
    delivery = Delivery("Loki", Numbers(), Steady(), Limits(capacity=1))
    settings = settings_of(Config(event=EventConfig(infotolog=False)))
    found = {each.name: each for each in output_statuses(catalogue(), settings, [Sender(delivery)], agent_state)}
    close_all([delivery])
    assert found == {
        "Prometheus": OutputStatus("Prometheus", "port 9102, /metrics"),
        "event stream": OutputStatus("event stream", "port 19102"),
        "event lines": OutputStatus("event lines", "", 4),
        "OTLP metrics": OutputStatus("OTLP metrics"),
        "OTLP logs": OutputStatus("OTLP logs", "", 10),
        "Loki": OutputStatus("Loki", "nowhere", 2),
    }


def test_a_running_agent_says_them(agent: Agent) -> None:
    outputs = {each["name"]: each for each in json.loads(agent.get("/status")[1])["outputs"]}
    assert outputs["Prometheus"] == {"name": "Prometheus", "where": f"port {agent.http}, /metrics", "lost": 0}
    assert outputs["event lines"] == {"name": "event lines", "where": "standard error", "lost": 0}
    assert outputs["Loki"] == {"name": "Loki", "where": "", "lost": 0}
