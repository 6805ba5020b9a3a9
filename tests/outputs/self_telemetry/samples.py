"""A condition of the agent in which every instrument has something to say."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.resources import Resource

from otel_netagent.model.probe_status import ProbeState, ProbeStatus
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.telemetry import SelfTelemetry
from otel_netagent.outputs.sending import Cause, DeliveryStatistics, PodName
from tests.outputs.samples import NODE, make_entity

WEB = PodName("shop", "web")

STATISTICS = DeliveryStatistics(
    delivered=100,
    dropped={**dict.fromkeys(Cause, 0), Cause.SPOOL_FULL: 7},
    dropped_by_pod={(Cause.SPOOL_FULL, WEB): 5, (Cause.SPOOL_FULL, PodName("", "")): 2},
    failed_tries=3,
    queued=4,
    spool_bytes=4096,
)

VITALS = AgentState(
    probes=(ProbeStatus("tcp", ProbeState.RUNNING), ProbeStatus("ipvs", ProbeState.UNAVAILABLE)),
    entities={1: make_entity(netns=1), 2: make_entity(netns=2)},
    deliveries={"OTLP logs": STATISTICS},
    discarded_records=1,
    lost_event_lines=2,
    lost_log_lines=5,
)


def make_telemetry(look: Callable[[], AgentState] = lambda: VITALS) -> SelfTelemetry:
    """The telemetry of an agent that has collected once, for 30 ms."""
    telemetry = SelfTelemetry(Resource({"service.name": "otel-netagent"}), NODE, look)
    telemetry.collected(0.03)
    return telemetry
