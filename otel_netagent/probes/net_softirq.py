"""Network softirqs of the node: how long they waited to be run, how long they ran, and each that took too long.

A softirq runs on a CPU for whoever's packets are there, so all of this is node-wide, reported as the host's. The
process that an event names is the one that the softirq interrupted: where to look on the CPU, not who is to blame.

Opt-in: three programs run for each softirq, which under a light load is for each packet.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.layout import BadRecord, Layout, integer
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.probing.attach import AttachMethod, Hook, attach, kernel_of
from otel_netagent.probing.capability import EBPF
from otel_netagent.probing.declaration import Environment, EventSettings, Probe
from otel_netagent.probing.delay import CPU, delay_attributes, delay_of, event_above_ns, report_as_host
from otel_netagent.probing.duration import LATENCY
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.histogram import HistogramReader, above, set_bounds
from otel_netagent.probing.node import NodeRow
from otel_netagent.probing.occurrences import Occurrence
from otel_netagent.probing.printable import printable_name

_SLOW_S: Final = 0.01
_VERY_SLOW_S: Final = 0.1

_BOUNDS: Final = (
    0.000_001, 0.000_002, 0.000_005, 0.000_010, 0.000_020, 0.000_050, 0.000_100, 0.000_200, 0.000_500,
    0.001, 0.002, 0.005, _SLOW_S, 0.020, 0.050, _VERY_SLOW_S, 0.200, 0.500, 1.0,
)  # fmt: skip
"""The counters are what lies above two of them: they need no counting of their own."""


def _series(name: str, kind: Kind, unit: str, meaning: str, bounds: tuple[float, ...] = ()) -> Series:
    source = "eBPF irq:softirq_raise, softirq_entry, softirq_exit; of the node, shown as the host's"
    return Series(f"inspector_pod_{name}", kind, unit, meaning, source, bounds=bounds)


_WAITED: Final = _series(
    "netsoftirqshed", Kind.HISTOGRAM, "s", "time from a network softirq being raised to its start", _BOUNDS
)
_RAN: Final = _series("netsoftirq", Kind.HISTOGRAM, "s", "time from the start of a network softirq to its end", _BOUNDS)
_HISTOGRAMS: Final = {"waited": _WAITED, "ran": _RAN}
"""By the members of `struct softirq` that they show."""


def _counter(name: str, meaning: str) -> Series:
    return _series(f"net_softirq_{name}", Kind.COUNTER, "1", f"network softirqs that {meaning}")


_COUNTERS: Final = {
    ("waited", _SLOW_S): _counter("schedslow", "waited more than 10 ms to be run"),
    ("waited", _VERY_SLOW_S): _counter("schedslow100ms", "waited more than 100 ms to be run"),
    ("ran", _SLOW_S): _counter("excuteslow", "ran more than 10 ms"),
    ("ran", _VERY_SLOW_S): _counter("excuteslow100ms", "ran more than 100 ms"),
}
"""By the histogram, and its bound above which they count."""

_WAITED_CAUSES: Final = (
    "Interrupts or softirqs were off on the CPU for so long, another softirq ran before, or ksoftirqd did not get the "
    "CPU: a busy driver, a long netfilter or eBPF program, real-time tasks, a hypervisor that took the CPU away."
)
_WAITED_LOOK_AT: Final = (
    "NETSOFTIRQ_EXCUTE_SLOW on the same CPU just before, the interrupted process, softnettimesqueeze of the node, "
    "steal time."
)
_RAN_CAUSES: Final = (
    "Very long iptables or nftables rule sets, slow eBPF programs (XDP, tc), a slow driver, traffic for one CPU where "
    "several could share it, a hypervisor that took the CPU away."
)
_RAN_LOOK_AT: Final = "Rules and programs on the node, RPS and queues of the device, perf on that CPU, steal time."

_INTERRUPTED_PID: Final = Attribute(
    "netagent.interrupted.pid", int, "process that the softirq interrupted; 0: none, the CPU was idle", before=" pid="
)
_SOFTIRQ: Final = Attribute("netagent.softirq", str, "NET_RX (receiving) or NET_TX (sending)", before=" softirq=")
_INTERRUPTED: Final = Attribute(
    "netagent.interrupted.command", str, "name of the interrupted thread", before=" interrupted="
)
_ATTRIBUTES: Final = (CPU, _INTERRUPTED_PID, LATENCY, _SOFTIRQ, _INTERRUPTED)

_TYPES: Final = (
    EventType(
        "NETSOFTIRQ_SCHED_SLOW",
        "netagent.net_softirq.sched.slow",
        "a network softirq starts too long after it was raised; after more than 100 ms it is a NETSOFTIRQ_SCHED_100MS",
        _ATTRIBUTES,
        threshold_ms=10,
        guidance=Guidance(
            "cpu=3 pid=4711 latency=37 ms softirq=NET_RX interrupted=ksoftirqd/3", _WAITED_CAUSES, _WAITED_LOOK_AT
        ),
    ),
    EventType(
        "NETSOFTIRQ_SCHED_100MS",
        "netagent.net_softirq.sched.100ms",
        "a network softirq starts more than 100 ms after it was raised",
        _ATTRIBUTES,
        guidance=Guidance(
            "cpu=3 pid=4711 latency=137 ms softirq=NET_RX interrupted=ksoftirqd/3", _WAITED_CAUSES, _WAITED_LOOK_AT
        ),
    ),
    EventType(
        "NETSOFTIRQ_EXCUTE_SLOW",
        "netagent.net_softirq.excute.slow",
        "a network softirq runs too long; if for more than 100 ms it is a NETSOFTIRQ_EXCUTE_100MS",
        _ATTRIBUTES,
        threshold_ms=10,
        guidance=Guidance("cpu=3 pid=4711 latency=24 ms softirq=NET_RX interrupted=java", _RAN_CAUSES, _RAN_LOOK_AT),
    ),
    EventType(
        "NETSOFTIRQ_EXCUTE_100MS",
        "netagent.net_softirq.excute.100ms",
        "a network softirq runs more than 100 ms",
        _ATTRIBUTES,
        guidance=Guidance("cpu=3 pid=4711 latency=124 ms softirq=NET_RX interrupted=java", _RAN_CAUSES, _RAN_LOOK_AT),
    ),
)
"""By the numbers of enum delay_kind."""

_VECTORS: Final = {2: "NET_TX", 3: "NET_RX"}
_HOOKS: Final = (
    Hook("softirqs that start", (AttachMethod("softirq_entry"),)),
    Hook("softirqs that end", (AttachMethod("softirq_exit"),)),
    # The last: a raise whose start was not seen would be taken for one that waits.
    Hook("softirqs that are raised", (AttachMethod("softirq_raise"),)),
)


class _Softirq(NamedTuple):
    """The rest of `struct net_softirq_event`."""

    vector: int


class NetSoftirq(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        self._row = NodeRow()
        self._host = self._row.namespace(environment.walk.walk)
        attached = attach(kernel, "net_softirq", _HOOKS, self._prepare)
        self._since_ns = time.time_ns()
        super().__init__("net_softirq", _TYPES, attached)
        self._softirqs = self._object.map("softirqs")
        self._vectors = [integer(self._softirqs.key_size).pack(key) for key in range(len(_VECTORS))]
        self._histograms = {
            member: HistogramReader(self._object.btf, series, "softirq", part=member)
            for member, series in _HISTOGRAMS.items()
        }
        self._delay = delay_of(self._object.btf, "net_softirq_event")
        self._softirq = Layout(self._object.btf, "net_softirq_event", _Softirq)

    def _tables(
        self, _found: Sequence[Occurrence], namespaces: Sequence[Namespace]
    ) -> Iterable[Table | HistogramTable]:
        """How long all softirqs since the start waited and ran, and how many of them too long."""
        copies = [copy for vector in self._vectors for copy in self._softirqs.read_copies(vector)]
        found = {member: reader.sum(copies) for member, reader in self._histograms.items()}
        slow = tuple(above(_HISTOGRAMS[member], found[member], bound) for member, bound in _COUNTERS)
        histograms = self._row.of(tuple(found.values()), namespaces)
        yield Table("net_softirq", tuple(_COUNTERS.values()), self._row.of(slow, namespaces), self._since_ns)
        yield HistogramTable("net_softirq", tuple(_HISTOGRAMS.values()), histograms, self._since_ns)

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        delay, softirq = self._delay.read(record), self._softirq.read(record)
        if kind >= len(_TYPES) or softirq.vector not in _VECTORS:
            raise BadRecord(f"softirq {softirq.vector}, kind {kind}: one of them is unknown")
        return _TYPES[kind], delay_attributes(delay) | {
            _SOFTIRQ.name: _VECTORS[softirq.vector],
            _INTERRUPTED_PID.name: delay.pid,
            _INTERRUPTED.name: printable_name(delay.command),
        }

    def _prepare(self, bpf_object: BpfObject) -> None:
        set_bounds(bpf_object, _WAITED)
        report_as_host(bpf_object, self._host)

    def _limit(self, events: EventSettings | None) -> None:
        self._object.variable("waited_event_above_ns")[0] = event_above_ns(events, _TYPES[0])
        self._object.variable("ran_event_above_ns")[0] = event_above_ns(events, _TYPES[2])
        super()._limit(events)


PROBE: Final = Probe(
    name="net_softirq",
    summary="how long network softirqs of the node waited and ran, and which took too long",
    start=NetSoftirq,
    series=(*_COUNTERS.values(), *_HISTOGRAMS.values()),
    events=_TYPES,
    cost="three times 70 ns a softirq",
    capabilities=EBPF,
    opt_in="adds cost to every softirq, and is node-wide only",
)
