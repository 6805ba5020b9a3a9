"""Control commands of virtio-net devices (receive mode, MAC, queues, ...): how long the hypervisor took to obey.

The histogram's bounds are the powers of two of microseconds. The original has a series with the label `level`, the
binary logarithm of the microseconds: its level N is the bucket from 2^N to 2^(N+1) microseconds, so that level 15 is
`inspector_node_virtsendcmdlat_bucket{le="0.065536"}` less that of `le="0.032768"`. No series with this label is made,
since a histogram of the same name cannot have it: a dashboard that selects `level` must be given the difference.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.layout import BadRecord, Layout
from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import EventType, Guidance
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import HistogramTable, Table
from otel_netagent.probing.attach import AttachMethod, Hook, Unavailable, attach, kernel_of
from otel_netagent.probing.capability import EBPF_AND_SYMBOLS
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, EventSettings, Probe
from otel_netagent.probing.delay import CPU, delay_attributes, delay_of, event_above_ns, report_as_host
from otel_netagent.probing.duration import LATENCY
from otel_netagent.probing.event_probe import EventProbe
from otel_netagent.probing.histogram import HistogramReader, set_bounds
from otel_netagent.probing.node import NodeRow
from otel_netagent.probing.occurrences import Occurrence
from otel_netagent.probing.printable import printable_name
from otel_netagent.probing.process import PROCESS_COMMAND, PROCESS_ID

_SOURCE: Final = "eBPF, start and end of virtnet_send_command_reply or virtnet_send_command; of the node"


def _counter(variable: str, name: str, meaning: str) -> Column[str]:
    """What a variable of the eBPF object counts."""
    meaning = f"virtio-net control commands that took {meaning}"
    return Column(variable, Series(f"inspector_pod_{name}", Kind.COUNTER, "1", meaning, _SOURCE))


_COUNTERS: Final = Columns(
    _counter("slower_than_10ms", "virtcmdlatency", "more than 10 ms"),
    _counter("slower_than_100ms", "virtcmdlatency100ms", "more than 100 ms"),
)
_DURATIONS: Final = Series(
    "inspector_node_virtsendcmdlat",
    Kind.HISTOGRAM,
    "s",
    "virtio-net control commands by duration; the original's level N is the bucket from 2^N to 2^(N+1) microseconds",
    _SOURCE,
    aliases=("inspector_pod_virtsendcmdlat",),
    bounds=tuple(2**level / 1_000_000 for level in range(24)),
)

_CAUSES: Final = (
    "The hypervisor answers late: its host is overloaded, or the device is being moved or reconfigured. The CPU waits "
    "meanwhile, most often with the lock of all network configuration (RTNL) held."
)
_LOOK_AT: Final = "Steal time, NETSOFTIRQ_SCHED_SLOW on the same CPU, the cloud provider's events for this machine."

_CLASS: Final = Attribute(
    "netagent.virtio_net.class",
    str,
    "class of the command, by the name in VIRTIO_NET_CTRL_*; a number where it has none here",
    before=" control=",
)
_COMMAND: Final = Attribute(
    "netagent.virtio_net.command", int, "number of the command in its class, which stands before it", before="/"
)
_ATTRIBUTES: Final = (
    CPU,
    PROCESS_ID.in_line(" pid="),
    LATENCY,
    PROCESS_COMMAND.in_line(" command="),
    _CLASS,
    _COMMAND,
)

_TYPES: Final = (
    EventType(
        "VIRTCMDEXCUTE",
        "netagent.virtcmdlat.slow",
        "a virtio-net control command takes too long; if more than 100 ms it is a VIRTCMDEXCUTE_100MS",
        _ATTRIBUTES,
        threshold_ms=10,
        guidance=Guidance("cpu=0 pid=812 latency=37 ms command=ip control=RX/0", _CAUSES, _LOOK_AT),
    ),
    EventType(
        "VIRTCMDEXCUTE_100MS",
        "netagent.virtcmdlat.100ms",
        "a virtio-net control command takes more than 100 ms",
        _ATTRIBUTES,
        guidance=Guidance("cpu=0 pid=812 latency=262 ms command=ip control=RX/0", _CAUSES, _LOOK_AT),
    ),
)
"""By the numbers of enum command_kind."""

_CLASSES: Final = {
    0: "RX",
    1: "MAC",
    2: "VLAN",
    3: "ANNOUNCE",
    4: "MQ",
    5: "GUEST_OFFLOADS",
    6: "NOTF_COAL",
    8: "STATS",
}
"""VIRTIO_NET_CTRL_* (include/uapi/linux/virtio_net.h; Virtual I/O Device Version 1.3, 5.1.6.5)."""

_FUNCTIONS: Final = ("virtnet_send_command_reply", "virtnet_send_command")
"""The first does the work where it exists (since 6.10); the second then only calls it, and may be inlined."""


def _hooks(function: str) -> tuple[Hook, ...]:
    return (
        Hook("the end of commands", (AttachMethod(f"{function}_fexit"), AttachMethod(f"{function}_kretprobe"))),
        Hook("the start of commands", (AttachMethod(f"{function}_fentry"), AttachMethod(f"{function}_kprobe"))),
    )


class _Command(NamedTuple):
    """The rest of `struct virtcmdlat_event`."""

    command_class: int
    command: int


class CommandReader:
    """Reads records; apart from the probe, which runs only where the driver is loaded."""

    def __init__(self, btf: Btf) -> None:
        """Take the layout from the BTF of the object."""
        self._delay = delay_of(btf, "virtcmdlat_event")
        self._command = Layout(btf, "virtcmdlat_event", _Command)

    def read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        """What a record of this kind says. Raises BadRecord."""
        delay, command = self._delay.read(record), self._command.read(record)
        if kind >= len(_TYPES):
            raise BadRecord(f"command of unknown kind {kind}")
        return _TYPES[kind], delay_attributes(delay) | {
            PROCESS_ID.name: delay.pid,
            PROCESS_COMMAND.name: printable_name(delay.command),
            _CLASS.name: _CLASSES.get(command.command_class, str(command.command_class)),
            _COMMAND.name: command.command,
        }


class VirtCmdLat(EventProbe):
    """The running probe."""

    def __init__(self, environment: Environment) -> None:
        """Attach. Raises Unavailable."""
        kernel = kernel_of(environment)
        function = next((each for each in _FUNCTIONS if kernel.symbols.span(each)[0]), None)
        if function is None:
            raise Unavailable(f"the driver virtio_net is not loaded: the kernel has neither {' nor '.join(_FUNCTIONS)}")
        self._row = NodeRow()
        self._host = self._row.namespace(environment.walk.walk)
        attached = attach(kernel, "virtcmdlat", _hooks(function), self._prepare)
        self._since_ns = time.time_ns()
        super().__init__("virtcmdlat", _TYPES, attached)
        self._durations = self._object.map("durations")
        self._histogram = HistogramReader(self._object.btf, _DURATIONS)
        self._slow = tuple(map(self._object.variable, _COUNTERS.fields))
        self._reader = CommandReader(self._object.btf)

    def _tables(
        self, _found: Sequence[Occurrence], namespaces: Sequence[Namespace]
    ) -> Iterable[Table | HistogramTable]:
        """How long all commands since the start took, and how many of them too long."""
        _, durations = self._durations.read_all()
        slow = tuple(variable[0] for variable in self._slow)
        distribution = self._histogram.sum([durations])
        yield Table("virtcmdlat", _COUNTERS.series, self._row.of(slow, namespaces), self._since_ns)
        yield HistogramTable("virtcmdlat", (_DURATIONS,), self._row.of((distribution,), namespaces), self._since_ns)

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        return self._reader.read(record, kind)

    def _prepare(self, bpf_object: BpfObject) -> None:
        set_bounds(bpf_object, _DURATIONS)
        report_as_host(bpf_object, self._host)

    def _limit(self, events: EventSettings | None) -> None:
        self._object.variable("event_above_ns")[0] = event_above_ns(events, _TYPES[0])
        super()._limit(events)


PROBE: Final = Probe(
    name="virtcmdlat",
    summary="how long control commands of virtio-net devices took, and which took too long",
    start=VirtCmdLat,
    series=(*_COUNTERS.series, _DURATIONS),
    events=_TYPES,
    aliases=("virtcmdlatency",),
    cost="nothing but at control commands of a virtio NIC",
    capabilities=EBPF_AND_SYMBOLS,
)
