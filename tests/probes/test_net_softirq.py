"""Network softirqs that wait or run too long are told and counted, each once; ordinary ones are measured only.

Slow ones are made by keeping a CPU busy with interrupts off, or within the softirq, for a time that the test sets. They
may come by themselves too, on a machine that is busy or whose hypervisor takes its CPUs away: the tests tell by CPU and
time which are theirs.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Pair
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.event import Event
from otel_netagent.model.table import Distribution
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings
from tests.kernel.fixtures import CompileBpf
from tests.kernel.held import held
from tests.probes.holdups import Holdup, Strike, holdup, on_one_cpu
from tests.probes.of_node import agreeing, events_of_node, host, values_of_node
from tests.probes.running import Running, running
from tests.tables import key_of

MS = 1_000_000
SHED, RAN = "inspector_pod_netsoftirqshed", "inspector_pod_netsoftirq"


@pytest.fixture(scope="module")
def shared_probe(access: KernelAccess) -> Iterator[Running]:
    with running("net_softirq", access) as probe:
        yield probe


@pytest.fixture
def probe(shared_probe: Running) -> Running:
    """The probe, with nothing left of earlier tests."""
    events_of_node(shared_probe)
    return shared_probe


@pytest.fixture
def send(netns: Namespace) -> Iterator[Callable[[], None]]:
    """Sends one datagram over the loopback of the namespace."""
    with (
        netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader,
        netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        reader.bind(("127.0.0.1", 0))
        sender.connect(reader.getsockname())

        def send() -> None:
            sender.sendall(b"x")
            reader.recv(1)

        yield send


@pytest.fixture
def slow_reception(compile_bpf: CompileBpf, netns: Namespace) -> Iterator[Holdup]:
    with holdup(compile_bpf, "hold_reception", netns.inode) as made:
        yield made


@pytest.fixture
def slow_raise(compile_bpf: CompileBpf) -> Iterator[Holdup]:
    with holdup(compile_bpf, "hold_raised") as made:
        yield made


def struck(holdup: Holdup, milliseconds: int, occasion: Callable[[], None]) -> Strike:
    """Hold up the CPU for so long at an occasion; what was done."""
    holdup.arm(milliseconds)
    with on_one_cpu() as cpu:
        occasion()
        strike = eventually(holdup.strike)
    assert strike is not None
    assert strike.cpu == cpu
    assert strike.ended_ns - strike.began_ns >= milliseconds * MS
    return strike


def latency_ns(event: Event) -> int:
    return int(event.attributes["netagent.latency_ns"])


def event_of(strike: Strike, events: list[Event], phase: str) -> Event:
    """The only event of this phase whose time holds the strike; event times are of CLOCK_MONOTONIC."""
    (event,) = [
        event
        for event in events
        if phase in event.type.name
        and event.attributes["cpu.logical_number"] == strike.cpu
        and event.time_ns - latency_ns(event) <= strike.began_ns
        and event.time_ns >= strike.ended_ns
    ]
    return event


# --- Slow ones


@pytest.mark.parametrize(("milliseconds", "kind"), [(30, "EXCUTE_SLOW"), (130, "EXCUTE_100MS")])
def test_a_softirq_that_runs_long_is_told_with_its_time_and_whom_it_interrupted(
    probe: Running, slow_reception: Holdup, send: Callable[[], None], milliseconds: int, kind: str
) -> None:
    strike = struck(slow_reception, milliseconds, send)
    event = event_of(strike, events_of_node(probe, 0), "EXCUTE")
    ms = latency_ns(event) // MS
    assert event.type.name == ("NETSOFTIRQ_EXCUTE_100MS" if latency_ns(event) > 100 * MS else f"NETSOFTIRQ_{kind}")
    assert event.netns == host()
    assert event.attributes["netagent.softirq"] == "NET_RX"
    assert event.attributes["netagent.interrupted.pid"] == strike.interrupted
    command = event.attributes["netagent.interrupted.command"]
    assert event.body == (
        f"cpu={strike.cpu} pid={strike.interrupted} latency={ms} ms softirq=NET_RX interrupted={command}"
    )


@pytest.mark.parametrize(("milliseconds", "kind"), [(30, "SCHED_SLOW"), (130, "SCHED_100MS")])
def test_a_softirq_that_waits_long_is_told_from_its_raise_to_its_start(
    probe: Running, slow_raise: Holdup, send: Callable[[], None], milliseconds: int, kind: str
) -> None:
    before = time.monotonic_ns()
    strike = struck(slow_raise, milliseconds, send)
    event = event_of(strike, events_of_node(probe, 0), "SCHED")
    assert before <= event.time_ns - latency_ns(event)
    assert event.type.name == ("NETSOFTIRQ_SCHED_100MS" if latency_ns(event) > 100 * MS else f"NETSOFTIRQ_{kind}")
    assert event.attributes["netagent.softirq"] == "NET_RX"


def test_what_is_raised_while_another_softirq_runs_waits_from_its_first_raise_on(
    probe: Running, slow_reception: Holdup, send: Callable[[], None], pair: Pair
) -> None:
    """A token bucket (tc-tbf(8)) raises NET_TX by a timer when it may send again: two do so within the slow NET_RX.

    After its burst of 1,600 bytes a bucket lacks 484 for the second packet: it has them after 19 ms, and after 77 ms.
    """
    for end, rate in ((pair.client, "200kbit"), (pair.server, "50kbit")):
        end.namespace.command(*f"tc qdisc add dev {end.device} root tbf rate {rate} burst 1600 limit 9000".split())
    with datagram(pair.client, Family.IPV4) as client, datagram(pair.server, Family.IPV4) as server:

        def occasion() -> None:
            for sender, reader in ((client, server), (server, client)) * 2:
                sender.sendto(bytes(1_000), reader.getsockname())
            send()

        before = time.monotonic_ns()
        strike = struck(slow_reception, 140, occasion)
        events = events_of_node(probe, 0)
    (waited,) = [
        event
        for event in events
        if event.attributes["netagent.softirq"] == "NET_TX"
        and event.attributes["cpu.logical_number"] == strike.cpu
        and event.time_ns >= strike.ended_ns
    ]
    raised_ns = waited.time_ns - latency_ns(waited)
    assert before < raised_ns < strike.began_ns + 50 * MS
    assert waited.type.name == ("NETSOFTIRQ_SCHED_100MS" if latency_ns(waited) > 100 * MS else "NETSOFTIRQ_SCHED_SLOW")
    event_of(strike, events, "EXCUTE")


def test_each_slow_one_is_counted_and_told_once(
    probe: Running, slow_reception: Holdup, send: Callable[[], None]
) -> None:
    """Those above 100 ms are among those above 10 ms, and told as the former only."""
    before, _ = agreeing(probe)
    for milliseconds in (15, 15, 130):
        struck(slow_reception, milliseconds, send)
    after, events = agreeing(probe)
    grown = {name: after.numbers[name] - before.numbers.get(name, 0) for name in after.numbers}
    told = Counter(event.type.name.removeprefix("NETSOFTIRQ_") for event in events)
    assert told["EXCUTE_SLOW"] >= 2
    assert told["EXCUTE_100MS"] >= 1
    for counter, phase in (("sched", "SCHED"), ("excute", "EXCUTE")):
        assert grown[f"inspector_pod_net_softirq_{counter}slow"] == told[f"{phase}_SLOW"] + told[f"{phase}_100MS"]
        assert grown[f"inspector_pod_net_softirq_{counter}slow100ms"] == told[f"{phase}_100MS"]
    for kind, count in told.items():
        outcomes = {
            name: grown[f"netagent_events_total{{NETSOFTIRQ_{kind},{name}}}"]
            for name in ("emitted", "suppressed", "lost")
        }
        assert outcomes == {"emitted": count, "suppressed": 0, "lost": 0}


@contextlib.contextmanager
def with_thresholds(access: KernelAccess, **milliseconds: int) -> Iterator[Running]:
    with running("net_softirq", access, EventSettings(thresholds_ms=milliseconds)) as probe:
        yield probe


def test_counters_do_not_follow_the_thresholds_of_events(
    access: KernelAccess, compile_bpf: CompileBpf, netns: Namespace, send: Callable[[], None]
) -> None:
    with (
        with_thresholds(access, NETSOFTIRQ_EXCUTE_SLOW=50, NETSOFTIRQ_SCHED_SLOW=60_000) as probe,
        holdup(compile_bpf, "hold_reception", netns.inode) as slow_reception,
    ):
        strikes = [struck(slow_reception, milliseconds, send) for milliseconds in (20, 70)]
        events = [event for event in events_of_node(probe, 0) if event.type.name == "NETSOFTIRQ_EXCUTE_SLOW"]
        assert all(latency_ns(event) > 50 * MS for event in events)
        event_of(strikes[1], events, "EXCUTE_SLOW")
        assert values_of_node(probe).numbers["inspector_pod_net_softirq_excuteslow"] >= 2


# --- Ordinary ones


def test_ordinary_traffic_is_measured_and_makes_no_event(probe: Running, send: Callable[[], None]) -> None:
    """A softirq that runs long within a send makes that send as long: no more events may be ours."""
    packets = 1_000
    before = values_of_node(probe).distributions
    slow_sends = 0
    with on_one_cpu() as cpu:
        for _ in range(packets):
            start = time.monotonic_ns()
            send()
            slow_sends += time.monotonic_ns() - start > 10 * MS
    after = values_of_node(probe).distributions
    grown = {name: sum(after[name].counts) - sum(before[name].counts) for name in (SHED, RAN)}
    assert grown[SHED] >= packets
    assert grown[RAN] >= packets
    ours = [event for event in events_of_node(probe) if event.attributes["cpu.logical_number"] == cpu]
    assert len(ours) <= 2 * slow_sends


def test_a_distribution_is_of_seconds_and_only_grows(
    probe: Running, slow_reception: Holdup, send: Callable[[], None]
) -> None:
    seen: list[Distribution] = [values_of_node(probe).distributions[RAN]]
    for _ in range(3):
        strike = struck(slow_reception, 20, send)
        seen.append(values_of_node(probe).distributions[RAN])
        assert seen[-1].sum - seen[-2].sum >= (strike.ended_ns - strike.began_ns) / 1e9
    bounds = catalogue()["net_softirq"].series[-1].bounds
    longer = [sum(each.counts[bounds.index(0.01) + 1 :]) for each in seen]
    assert all(now >= before + 1 for before, now in itertools.pairwise(longer))
    for before, now in itertools.pairwise(seen):
        assert all(a <= b for a, b in zip(before.counts, now.counts, strict=True))


def test_raises_are_watched_last(probe: Running) -> None:
    """Amid traffic one whose start nobody sees would be taken for one that waits until the next start."""
    assert [hook.way for hook in probe.probe.hooks] == [
        "raw_tp/softirq_entry",
        "raw_tp/softirq_exit",
        "raw_tp/softirq_raise",
    ]


# --- Without events, without a kernel, and after the end


def test_without_events_it_counts(access: KernelAccess) -> None:
    probe = catalogue()["net_softirq"].start(Environment(access.facts, access.no_kernel, access.walk))
    with contextlib.closing(probe):
        namespaces = access.walk.walk.take()
        *tables, outcomes, uncounted = probe.collect(namespaces)
    assert [series for table in tables for series in table.series] == [*catalogue()["net_softirq"].series]
    assert not outcomes.rows
    assert uncounted.rows == {(key_of(host(), namespaces), ("net_softirq",)): (0,)}


def test_where_the_host_is_not_among_the_namespaces_it_tells_nothing(probe: Running, netns: Namespace) -> None:
    others = [each for each in probe.walk.take() if each.inode != host()]
    assert netns.inode in {each.inode for each in others}
    assert not any(table.rows for table in probe.probe.collect(iter(others)))


def test_close_leaves_nothing(access: KernelAccess) -> None:
    before = held()
    with running("net_softirq", access):
        assert (held() - before)["link"] == 3
    assert held() == before


def test_without_a_kernel_it_is_unavailable(access: KernelAccess) -> None:
    with pytest.raises(Unavailable, match=r"^no BTF, say$"):
        catalogue()["net_softirq"].start(Environment(None, "no BTF, say", access.walk))


# --- Records


@pytest.fixture(scope="module")
def size(kernel: KernelFacts) -> int:
    with BpfObject(kernel.objects / "net_softirq.bpf.o", ()) as bpf_object:
        return bpf_object.btf.structure("net_softirq_event")[0]


def record_of(size: int, kind: int, vector: int, content: bytes) -> bytes:
    record = bytearray(content)
    struct.pack_into("=I", record, 20, kind)
    struct.pack_into("=I", record, size - 8, vector)
    return bytes(record)


@given(st.data(), st.integers(0, 3), st.sampled_from([2, 3]))
def test_no_record_of_the_right_size_breaks_the_reading(
    shared_probe: Running, size: int, data: st.DataObject, kind: int, vector: int
) -> None:
    record = record_of(size, kind, vector, data.draw(st.binary(min_size=size, max_size=size)))
    event = shared_probe.source.decode(record, 1_000)
    assert (event.time_ns, event.netns_cookie, event.netns) == (
        struct.unpack_from("=Q", record)[0] + 1_000,
        *struct.unpack_from("=QI", record, 8),
    )
    assert event.body.splitlines() == [event.body]


@given(st.data(), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_record_of_what_is_unknown_is_bad(
    shared_probe: Running, size: int, data: st.DataObject, kind: int, vector: int
) -> None:
    record = record_of(size, kind, vector, data.draw(st.binary(min_size=size, max_size=size)))
    if kind <= 3 and vector in {2, 3}:
        shared_probe.source.decode(record, 0)
    else:
        with pytest.raises(BadRecord):
            shared_probe.source.decode(record, 0)


@given(st.data())
def test_a_record_that_is_cut_is_bad(shared_probe: Running, size: int, data: st.DataObject) -> None:
    with pytest.raises(BadRecord):
        shared_probe.source.decode(data.draw(st.binary(max_size=size - 8)), 0)
