"""From one configuration to the next: what runs is what the last one asks for, whatever was before it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.waiting import eventually
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.config.probe_selection import selected_probes
from otel_netagent.config.schema import Config, EventConfig, MetricConfig
from otel_netagent.kernel.bpf.bpf_object import Map
from otel_netagent.model.event import EventType
from otel_netagent.model.probe_status import ProbeStatus
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.pipeline.sources import Sources
from otel_netagent.probing.declaration import EventSettings, WalkAccess
from tests.kernel.fixtures import CompileBpf
from tests.kernel.producer import producing
from tests.pipeline.made_up import NUMBER, MadeUpProbe, MadeUpWalk, Starts, real_rings

_ACCESS = KernelAccess(None, "no eBPF in this test", WalkAccess(MadeUpWalk()))
_SLOW = EventType("SLOW", "netagent.slow", "it is slow", (NUMBER,), threshold_ms=10)
_LOST = EventType("LOST", "netagent.lost", "it is lost", (NUMBER,))


@dataclass
class Node:
    """Sources with made-up probes, and the snapshots that they make by the configuration that was applied last."""

    starts: Starts
    snapshots: list[Snapshot] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing runs yet."""
        declared = (
            self.starts.declare("counting"),
            self.starts.declare("lost", types=(_LOST,)),
            self.starts.declare("slow", types=(_SLOW,)),
            self.starts.declare("special", necessary=False, types=(_LOST,)),
        )
        self.kinds = {probe.name: probe for probe in declared}
        self.sources = Sources(self.kinds, _ACCESS)

    def apply(self, config: Config, *events: Callable[[AttributedEvent], None]) -> None:
        """Go over to this, and to these outputs of events."""
        self.snapshots = []
        self.sources.apply(selected_probes(config, self.kinds), [self.snapshots.append], events, config.metric.interval)

    def probes(self) -> dict[str, MadeUpProbe]:
        """Those that run."""
        return dict(self.starts.running)

    def state(self) -> tuple[Mapping[str, EventSettings | None], tuple[ProbeStatus, ...], set[str]]:
        """What of its events each probe tells that runs, what is said of all, and what the first collection shows."""
        eventually(lambda: self.snapshots)
        shown = {table.probe for table in self.snapshots[0].tables}
        told = {name: self.starts.told.get(name) for name in self.starts.running}
        return told, self.sources.statuses, shown


@contextlib.contextmanager
def node(rings: Sequence[Map]) -> Iterator[Node]:
    """For the time of the block."""
    node = Node(Starts([*rings]))
    try:
        yield node
    finally:
        node.sources.close()
        assert node.starts.running == {}


@pytest.fixture(scope="session")
def other_rings(compile_bpf: CompileBpf) -> Iterator[Sequence[Map]]:
    """For a second node beside the first."""
    with real_rings(compile_bpf) as rings:
        yield rings


names = st.lists(st.sampled_from(["counting", "lost", "slow", "special", "unknown"]), unique=True).map(tuple)
telling = st.lists(st.sampled_from(["counting", "lost", "slow", "special"]), unique=True).map(tuple)
configurations = st.builds(
    Config,
    metric=st.builds(MetricConfig, enable=st.booleans(), probes=names, interval=st.sampled_from([1, 3600])),
    event=st.builds(
        EventConfig,
        enable=st.booleans(),
        probes=telling,
        thresholds=st.dictionaries(st.just("SLOW"), st.sampled_from([10, 20])),
        events_per_second=st.sampled_from([100, 5]),
    ),
)


@settings(max_examples=50)
@given(st.lists(configurations, max_size=4), configurations)
def test_what_was_before_leaves_no_trace(
    rings: Sequence[Map], other_rings: Sequence[Map], before: list[Config], last: Config
) -> None:
    with node(rings) as alone, node(other_rings) as after_others:
        alone.apply(last)
        for config in before:
            after_others.apply(config)
        after_others.apply(last)
        assert after_others.state() == alone.state()


@settings(max_examples=50)
@given(configurations, configurations)
def test_what_both_ask_for_goes_on_and_tells_what_the_second_says(
    rings: Sequence[Map], first: Config, second: Config
) -> None:
    with node(rings) as it:
        it.apply(first)
        before = it.probes()
        it.apply(second)
        wanted = selected_probes(second, it.kinds)
        assert it.probes().keys() == wanted.all
        assert all(it.probes()[name] is before[name] for name in before.keys() & wanted.all)
        assert it.starts.told == {name: wanted.events_of(name) for name in wanted.all if it.kinds[name].events}


def test_the_first_snapshot_after_a_change_comes_at_once(rings: Sequence[Map]) -> None:
    with node(rings) as it:
        it.apply(Config(metric=MetricConfig(interval=3600, probes=("counting", "lost"))))
        assert it.state()[2] == {"counting", "lost", "slow"}
        it.apply(Config(metric=MetricConfig(interval=3600, probes=("counting",)), event=EventConfig(enable=False)))
        assert it.state()[2] == {"counting"}


def test_what_comes_late_is_collected_with_the_others(rings: Sequence[Map]) -> None:
    with node(rings) as it:
        it.starts.refused = {"lost"}
        it.apply(Config(metric=MetricConfig(interval=3600)))
        assert it.state()[2] == {"counting", "slow"}
        it.starts.refused.clear()
        it.sources.retry()
        assert it.sources.running == ("counting", "lost", "slow")
        eventually(lambda: len(it.snapshots) == 2)
        assert [table.probe for table in it.snapshots[-1].tables] == ["counting", "lost", "slow"]


def test_a_probe_is_not_stopped_before_it_has_answered(rings: Sequence[Map]) -> None:
    asked, answers = threading.Event(), threading.Event()

    def think() -> None:
        asked.set()
        answers.wait()

    with node(rings) as it, contextlib.ExitStack() as ending:
        ending.callback(answers.set)
        it.starts.while_asked = think
        it.apply(Config(metric=MetricConfig(interval=3600, probes=("counting",)), event=EventConfig(enable=False)))
        first = it.snapshots
        asked.wait()
        switched_off = Config(metric=MetricConfig(enable=False), event=EventConfig(enable=False))
        changing = threading.Thread(target=it.apply, args=(switched_off,))
        changing.start()
        changing.join(0.2)
        assert it.probes().keys() == {"counting"}
        answers.set()
        changing.join()
        assert it.probes() == {}
        assert [table.probe for table in first[0].tables] == ["counting"]


def test_a_probe_is_not_stopped_before_its_events_are_read(rings: Sequence[Map], compile_bpf: CompileBpf) -> None:
    """The reader has come as far as the first one when the change begins."""
    told: list[str] = []
    reached, go_on = threading.Event(), threading.Event()

    def output(attributed: AttributedEvent) -> None:
        told.append(attributed.event.body)
        reached.set()
        go_on.wait()

    with producing(compile_bpf) as producer, node([producer.ring, *rings]) as it, contextlib.ExitStack() as ending:
        ending.callback(go_on.set)
        it.apply(Config(metric=MetricConfig(probes=("counting",)), event=EventConfig(probes=("lost",))), output)
        producer.write()
        reached.wait()
        producer.write(5)
        switched_off = Config(metric=MetricConfig(probes=("counting",)), event=EventConfig(enable=False))
        with ThreadPoolExecutor(1) as thread:
            changing = thread.submit(it.apply, switched_off, output)
            wait([changing], timeout=0.2)
            go_on.set()
            changing.result()
        assert it.probes().keys() == {"counting"}
    assert told == [f"number={number}" for number in range(6)]
