"""Probes start each on its own: none stops another, and of every one it is said what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from otel_netagent.config.probe_selection import known_names, selected_probes
from otel_netagent.config.schema import Config, EventConfig, KnownNames, MetricConfig
from otel_netagent.kernel.bpf.bpf_object import Map
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.kallsyms import SymbolsUnreadable
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.model.event import EventType
from otel_netagent.model.probe_status import HookStatus, ProbeState, Refusal
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.pipeline.probe_set import Changes, ProbeSelection, ProbeSet
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.capability import Capability
from otel_netagent.probing.declaration import EventSettings, Probe, WalkAccess
from tests.pipeline.made_up import MadeUpProbe, Starts, declared, refusing, series_of

ACCESS = KernelAccess(None, "no eBPF in this test", WalkAccess(ProcfsWalk()))


def catalogue(*probes: Probe) -> Mapping[str, Probe]:
    return {probe.name: probe for probe in probes}


def wanted(*names: str) -> ProbeSelection:
    return ProbeSelection(frozenset(names), frozenset())


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
        (MetricConfig(), EventConfig(probes=("special",)), {"counting", "telling"}, {"special"}),
        (MetricConfig(), EventConfig(probes=("special", "necessary")), {"counting", "telling"}, {"special", "telling"}),
        (MetricConfig(enable=False), EventConfig(), set(), {"telling"}),
        (MetricConfig(enable=False, probes=("special",)), EventConfig(enable=False), set(), set()),
    ],
)
def test_what_is_not_named_is_what_is_necessary(
    metric: MetricConfig, event: EventConfig, metrics: set[str], events: set[str]
) -> None:
    chosen = selected_probes(Config(metric=metric, event=event), KINDS)
    assert [set(chosen.metrics), set(chosen.events), set(chosen.all)] == [metrics, events, metrics | events]


def test_what_a_configuration_may_name() -> None:
    starts = declared(MadeUpProbe("any")).start
    slow = EventType("SLOW", "netagent.slow", "it is slow", aliases=("LATE",), threshold_ms=10)
    kinds = catalogue(
        Probe("measuring", "made up", starts, (series_of("measuring"),), aliases=("counting",)),
        Probe("telling", "made up", starts, events=(slow, EventType("QUICK", "netagent.quick", "it is not"))),
    )
    assert known_names(kinds) == KnownNames(
        metric_probes={"measuring": "measuring", "counting": "measuring", "necessary": "necessary"},
        event_probes={"telling": "telling", "necessary": "necessary"},
        thresholds={"SLOW": "SLOW", "LATE": "SLOW"},
        labels={"outcome", "type"},
    )


def test_what_is_wanted_of_events() -> None:
    event = EventConfig(thresholds={"FAST": 10, "SLOW": 20}, events_per_second=7, expected=True)
    chosen = selected_probes(Config(event=event), KINDS)
    assert chosen.events_of("telling") == EventSettings(7, {"FAST": 10, "SLOW": 20}, expected=True)
    assert chosen.events_of("counting") is None


@pytest.mark.parametrize(
    ("metric", "event", "impossible"),
    [
        (MetricConfig(probes=("tellin",)), EventConfig(), {"tellin": "no such probe; did you mean telling?"}),
        (MetricConfig(), EventConfig(probes=("x", "telling")), {"x": "no such probe"}),
        (MetricConfig(), EventConfig(probes=("countin",)), {"countin": "no such probe"}),
        (MetricConfig(), EventConfig(probes=("counting",)), {"counting": "this probe has no events"}),
        (MetricConfig(enable=False, probes=("x",)), EventConfig(enable=False, probes=("y",)), {}),
    ],
)
def test_what_is_asked_for_in_vain(metric: MetricConfig, event: EventConfig, impossible: dict[str, str]) -> None:
    """What a name is like is sought among the probes that have what is asked for."""
    chosen = selected_probes(Config(metric=metric, event=event), KINDS)
    assert chosen.impossible == impossible
    assert chosen.metrics <= KINDS.keys()
    assert chosen.events <= {"telling", "special"}


# --- What becomes of it


def test_wanted_probes_run_and_the_others_are_off() -> None:
    probe = MadeUpProbe("first")
    probes = ProbeSet(wanted("first"), catalogue(declared(probe), declared(MadeUpProbe("second"))), ACCESS)
    assert probes.running == {"first": probe}
    assert states(probes) == {"first": ProbeState.RUNNING, "second": ProbeState.OFF}
    assert probes.statuses[0].hooks == probe.hooks
    assert probes.statuses[1].reason


@pytest.mark.parametrize("error", [Unavailable, BpfError, SymbolsUnreadable])
def test_a_probe_that_cannot_start_stops_no_other(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    kinds = catalogue(refusing("a", error("this kernel lacks it")), declared(MadeUpProbe("b")))
    probes = ProbeSet(wanted("a", "b"), kinds, ACCESS)
    assert states(probes) == {"a": ProbeState.UNAVAILABLE, "b": ProbeState.RUNNING}
    assert probes.statuses[0].reason == "this kernel lacks it"
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "probe a is unavailable: this kernel lacks it")
    ]


def test_what_there_is_not_is_unavailable_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged here: whoever reads the file says its line."""
    config = Config(
        metric=MetricConfig(probes=("countin", "telling")), event=EventConfig(probes=("telling", "counting"))
    )
    probes = ProbeSet(selected_probes(config, KINDS), KINDS, ACCESS)
    assert [(each.name, each.state, each.reason) for each in probes.statuses] == [
        ("countin", ProbeState.UNAVAILABLE, "no such probe; did you mean counting?"),
        ("counting", ProbeState.UNAVAILABLE, "this probe has no events"),
        ("special", ProbeState.OFF, "not asked for in the configuration"),
        ("telling", ProbeState.RUNNING, ""),
    ]
    assert probes.retry() == ()
    assert caplog.messages == []


def test_what_runs_for_one_section_is_not_unavailable_for_the_other() -> None:
    config = Config(metric=MetricConfig(probes=("counting",)), event=EventConfig(probes=("counting",)))
    probes = ProbeSet(selected_probes(config, KINDS), KINDS, ACCESS)
    assert states(probes)["counting"] is ProbeState.RUNNING


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


def test_a_status_has_what_the_probe_declares_whatever_its_state() -> None:
    kinds = catalogue(
        replace(declared(MadeUpProbe("counting")), cost="little", capabilities=(Capability.BPF,)),
        replace(refusing("missing", Unavailable("no")), cost="much", capabilities=(Capability.SYSLOG,)),
        replace(declared(MadeUpProbe("special"), necessary=False), cost="nothing"),
    )
    impossible = ProbeSelection(frozenset({"counting", "missing"}), frozenset(), impossible={"none": "no such probe"})
    probes = ProbeSet(impossible, kinds, ACCESS)
    assert {each.name: (each.capabilities, each.cost) for each in probes.statuses} == {
        "counting": (("CAP_BPF",), "little"),
        "missing": (("CAP_SYSLOG",), "much"),
        "none": ((), ""),
        "special": ((), "nothing"),
    }
    probes.close()


def test_all_are_closed_once() -> None:
    closed: list[str] = []
    kinds = catalogue(*(declared(MadeUpProbe(name, closed=closed)) for name in ("a", "b", "c")))
    probes = ProbeSet(wanted("a", "b"), kinds, ACCESS)
    probes.close()
    probes.close()
    assert sorted(closed) == ["a", "b"]
    assert probes.running == {}


# --- From one configuration to the next


def test_what_stays_is_not_touched() -> None:
    starts = Starts()
    kinds = catalogue(*(starts.declare(name) for name in "abc"))
    probes = ProbeSet(wanted("a", "b"), kinds, ACCESS)
    staying = probes.running["b"]
    changes = probes.apply(wanted("b", "c"))
    assert probes.running["b"] is staying
    assert list(probes.running) == list(starts.running) == ["b", "c"]
    assert changes == Changes(started=("c",), stopped=("a",))
    assert str(changes) == "probes started: c; probes stopped: a"
    assert states(probes) == {"a": ProbeState.OFF, "b": ProbeState.RUNNING, "c": ProbeState.RUNNING}
    assert str(probes.apply(wanted("b", "c"))) == ""


def test_other_settings_of_events_are_told_to_what_runs(rings: Sequence[Map]) -> None:
    starts = Starts([*rings])
    type_ = EventType("SLOW", "netagent.slow", "it happens", threshold_ms=10)
    kinds = catalogue(
        starts.declare("a", types=(type_,)), starts.declare("b", types=(type_,)), starts.declare("counting")
    )
    every, usual = frozenset(kinds), EventSettings()
    probes = ProbeSet(ProbeSelection(every, frozenset({"a"})), kinds, ACCESS)
    running = probes.running
    assert (starts.told, len(probes.event_sources)) == ({"a": usual, "b": None}, 1)
    slower = EventSettings(per_second=5, thresholds_ms={"SLOW": 20})
    assert str(probes.apply(ProbeSelection(every, frozenset({"a", "b"}), slower))) == ""
    assert (starts.told, len(probes.event_sources)) == ({"a": slower, "b": slower}, 2)
    probes.apply(ProbeSelection(every, frozenset()))
    assert (starts.told, len(probes.event_sources)) == ({"a": None, "b": None}, 0)
    assert probes.running == running


def test_what_is_wanted_no_more_tells_nothing_before_it_is_stopped(rings: Sequence[Map]) -> None:
    """So that it can be read to its end."""
    starts = Starts([*rings])
    kinds = catalogue(starts.declare("a", types=(EventType("LOST", "netagent.lost", "it happens"),)))
    probes = ProbeSet(ProbeSelection(frozenset(), frozenset({"a"})), kinds, ACCESS)
    probes.configure(wanted())
    assert starts.told == {"a": None}
    assert not probes.event_sources
    assert probes.running.keys() == {"a"}
    assert probes.apply(wanted()) == Changes(started=(), stopped=("a",))


def test_what_was_unavailable_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    starts = Starts(refused={"a"})
    probes = ProbeSet(wanted("a", "b"), catalogue(starts.declare("a"), starts.declare("b")), ACCESS)
    assert probes.retry() == ()
    probes.apply(wanted("a", "b"))
    assert caplog.messages == ["probe a is unavailable: what it needs is not there"]
    staying = probes.running["b"]
    starts.refused.clear()
    assert probes.retry() == ("a",)
    assert list(probes.running) == ["a", "b"]
    assert probes.running["b"] is staying
    assert states(probes) == {"a": ProbeState.RUNNING, "b": ProbeState.RUNNING}
    assert probes.retry() == ()
    assert starts.started == 2


def test_what_was_unavailable_and_is_wanted_no_more_is_off() -> None:
    starts = Starts(refused={"a"})
    probes = ProbeSet(wanted("a"), catalogue(starts.declare("a")), ACCESS)
    probes.apply(wanted())
    assert states(probes) == {"a": ProbeState.OFF}
    starts.refused.clear()
    assert probes.retry() == ()
