"""The page, read by Prometheus' own parser."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from otel_netagent.model.probe_status import ProbeState, ProbeStatus
from otel_netagent.outputs.self_telemetry.agent_state import AgentState
from otel_netagent.outputs.self_telemetry.instruments import INSTRUMENTS, Instrument, InstrumentKind
from otel_netagent.outputs.self_telemetry.telemetry import SelfTelemetry
from otel_netagent.probes import catalogue
from otel_netagent.probing.occurrences import COMMON
from tests.outputs.samples import NODE
from tests.outputs.self_telemetry.samples import make_telemetry

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "self-telemetry.md"


def families(telemetry: SelfTelemetry) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(telemetry.page().decode())}


def values(telemetry: SelfTelemetry) -> dict[str, float]:
    """By name and labels but the node's, which is checked."""
    found = {}
    for family in families(telemetry).values():
        for sample in family.samples:
            if family.name != "target_info":
                assert sample.labels.pop("node") == NODE
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_page_says_what_was_seen() -> None:
    assert (
        values(make_telemetry()).items()
        >= {
            "netagent_delivery_delivered_total{delivery=OTLP logs}": 100,
            "netagent_delivery_failed_tries_total{delivery=OTLP logs}": 3,
            "netagent_delivery_dropped_total{cause=spool_full,delivery=OTLP logs}": 7,
            "netagent_delivery_dropped_total{cause=rejected,delivery=OTLP logs}": 0,
            "netagent_delivery_dropped_by_pod_total{cause=spool_full,delivery=OTLP logs,namespace=shop,pod=web}": 5,
            "netagent_delivery_queued{delivery=OTLP logs}": 4,
            "netagent_delivery_spool_size_bytes{delivery=OTLP logs}": 4096,
            "netagent_events_discarded_total": 1,
            "netagent_text_lost_total": 2,
            "netagent_log_lost_total": 5,
            "netagent_probe_state{probe=tcp,state=running}": 1,
            "netagent_probe_state{probe=ipvs,state=unavailable}": 1,
            "netagent_entities{kind=pod}": 2,
            "netagent_collection_duration_seconds_count": 1,
            "netagent_collection_duration_seconds_sum": 0.03,
            "netagent_collection_duration_seconds_bucket{le=0.025}": 0,
            "netagent_collection_duration_seconds_bucket{le=0.05}": 1,
        }.items()
    )


def test_own_cpu_time_and_memory_are_those_of_the_process() -> None:
    before = sum(os.times()[:2])
    found = values(make_telemetry())
    spent = sum(found[f"process_cpu_time_seconds_total{{cpu_mode={mode}}}"] for mode in ("user", "system"))
    assert before - 0.02 <= spent <= sum(os.times()[:2]) + 0.02  # of os.times() a tick may be missing
    resident = int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) << 10
    assert found["process_memory_usage_bytes"] == pytest.approx(resident, rel=0.1)


def test_pods_that_nothing_can_be_said_of_have_no_series() -> None:
    by_pod = [name for name in values(make_telemetry()) if "dropped_by_pod" in name]
    assert len(by_pod) == 1


def test_probe_is_in_one_state_at_a_time() -> None:
    states = iter([ProbeState.DEGRADED, ProbeState.RUNNING])
    telemetry = make_telemetry(lambda: AgentState(probes=[ProbeStatus("tcp", next(states))]))
    for state in ("degraded", "running"):
        shown = [name for name in values(telemetry) if "probe_state" in name]
        assert shown == [f"netagent_probe_state{{probe=tcp,state={state}}}"]


def test_no_name_is_one_of_the_nodes() -> None:
    series = [*COMMON, *(series for probe in catalogue().values() for series in probe.series)]
    taken = {name for each in series for name in (each.name, *each.aliases)}
    own = {sample.name for family in families(make_telemetry()).values() for sample in family.samples}
    assert not own & taken
    assert not [name for name in own if name.startswith("inspector_")]


def test_every_instrument_is_on_the_page_with_its_meaning() -> None:
    shown = families(make_telemetry())
    for instrument in INSTRUMENTS:
        assert shown[_at_metrics(instrument).removesuffix("_total")].documentation == instrument.description


def test_documentation_has_every_instrument_as_it_is() -> None:
    rows = re.findall(r"^\| `[a-z._]+` \| `.*", DOCUMENTATION.read_text(), re.MULTILINE)
    assert rows == [
        f"| `{each.name}` | `{_at_metrics(each)}` | {each.kind.value} | `{each.unit}` | {each.description} | "
        f"{', '.join(f'`{name}`' for name in each.attributes)} |".replace("|  |", "| |")
        for each in INSTRUMENTS
    ]


def _at_metrics(instrument: Instrument) -> str:
    """Its name by Prometheus' conventions (OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility")."""
    unit = {"s": "_seconds", "By": "_bytes"}.get(instrument.unit, "")
    return instrument.name.replace(".", "_") + unit + ("_total" if instrument.kind is InstrumentKind.COUNTER else "")
