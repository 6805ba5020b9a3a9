"""Probes start each on its own: none stops another, and of every one it is said what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from otel_netagent.config import Config, EventConfig, MetricConfig
from otel_netagent.kernel.libbpf import BpfError
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.kernel.symbols import SymbolsUnreadable
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.pipeline.probe_set import ProbeSet, Wanted
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, Probe, WalkAccess
from otel_netagent.telemetry.status import HookStatus, ProbeState, Refusal
from tests.pipeline.made_up import MadeUpProbe, declared, refusing

ACCESS = KernelAccess(None, "no eBPF in this test", WalkAccess(ProcfsWalk()))


def catalogue(*probes: Probe) -> Mapping[str, Probe]:
    return {probe.name: probe for probe in probes}


def wanted(*names: str) -> Wanted:
    return Wanted(frozenset(names), frozenset())


def states(probes: ProbeSet) -> dict[str, ProbeState]:
    return {status.name: status.state for status in probes.statuses}


# --- What is wanted


KINDS = catalogue(
    declared(MadeUpProbe("counting")),
    declared(MadeUpProbe("telling"), events=True),
    declared(MadeUpProbe("special"), events=True, necessary=False),
)


@pytest.mark.parametrize(
    ("metric", "event", "metrics", "events"),
    [
        (MetricConfig(), EventConfig(), {"counting", "telling"}, {"telling"}),
        (MetricConfig(probes=("special",)), EventConfig(), {"special"}, {"telling"}),
        (MetricConfig(), EventConfig(probes=("special", "typo")), {"counting", "telling"}, {"special", "typo"}),
        (MetricConfig(enable=False), EventConfig(), set(), {"telling"}),
        (MetricConfig(enable=False, probes=("special",)), EventConfig(enable=False), set(), set()),
    ],
)
def test_what_is_not_named_is_what_is_necessary(
    metric: MetricConfig, event: EventConfig, metrics: set[str], events: set[str]
) -> None:
    chosen = Wanted.of(Config(metric=metric, event=event), KINDS)
    assert [set(chosen.metrics), set(chosen.events), set(chosen.all)] == [metrics, events, metrics | events]


def test_a_probe_is_told_whether_its_events_are_wanted() -> None:
    told: dict[str, EventSettings | None] = {}

    def start_noting(name: str) -> Probe:
        def start(environment: Environment) -> MadeUpProbe:
            told[name] = environment.events
            return MadeUpProbe(name)

        return Probe(name, "made up", start)

    kinds = catalogue(start_noting("counting"), start_noting("telling"))
    ProbeSet(Wanted(frozenset({"counting", "telling"}), frozenset({"telling"})), kinds, ACCESS)
    assert told == {"counting": None, "telling": EventSettings()}


# --- What becomes of it


def test_wanted_probes_run_and_the_others_are_off() -> None:
    probe = MadeUpProbe("first")
    probes = ProbeSet(wanted("first"), catalogue(declared(probe), declared(MadeUpProbe("second"))), ACCESS)
    assert probes.running == {"first": probe}
    assert states(probes) == {"first": ProbeState.RUNNING, "second": ProbeState.OFF}
    assert probes.statuses[0].hooks == probe.hooks
    assert probes.statuses[1].reason


def test_an_unknown_name_is_unavailable_and_the_known_ones_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    kinds = catalogue(declared(MadeUpProbe("tcp")), declared(MadeUpProbe("udp")))
    probes = ProbeSet(wanted("tcp", "tpc"), kinds, ACCESS)
    assert states(probes) == {"tcp": ProbeState.RUNNING, "tpc": ProbeState.UNAVAILABLE, "udp": ProbeState.OFF}
    (status,) = [status for status in probes.statuses if status.name == "tpc"]
    assert status.reason == "no such probe; there are tcp, udp"
    assert caplog.messages == ["probe tpc is unavailable: no such probe; there are tcp, udp"]


@pytest.mark.parametrize("error", [Unavailable, BpfError, SymbolsUnreadable])
def test_a_probe_that_cannot_start_stops_no_other(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    kinds = catalogue(refusing("a", error("this kernel lacks it")), declared(MadeUpProbe("b")))
    probes = ProbeSet(wanted("a", "b"), kinds, ACCESS)
    assert states(probes) == {"a": ProbeState.UNAVAILABLE, "b": ProbeState.RUNNING}
    assert probes.statuses[0].reason == "this kernel lacks it"
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "probe a is unavailable: this kernel lacks it")
    ]


def test_a_probe_that_sees_less_is_degraded() -> None:
    hooks = (
        HookStatus("sent", "raw_tp/tcp_send_reset"),
        HookStatus("received", None, (Refusal("raw_tp/x", "no such event"),)),
        HookStatus("in between", None),
    )
    probes = ProbeSet(wanted("a"), catalogue(declared(MadeUpProbe("a", hooks))), ACCESS)
    (status,) = probes.statuses
    assert (status.state, status.hooks) == (ProbeState.DEGRADED, hooks)
    assert status.reason == "not seen on this kernel: received, in between"
    assert probes.running.keys() == {"a"}


def test_all_are_closed_once() -> None:
    closed: list[str] = []
    kinds = catalogue(*(declared(MadeUpProbe(name, closed=closed)) for name in ("a", "b", "c")))
    probes = ProbeSet(wanted("a", "b"), kinds, ACCESS)
    probes.close()
    probes.close()
    assert sorted(closed) == ["a", "b"]
    assert probes.running == {}
