"""What it costs to deliver events to a receiver by OTLP, and whether all arrive: in peace, and through an outage.

    .venv/bin/python -m bench.delivery --rate 20000 --seconds 10

The receiver is another process, which decodes what it gets and marks which events have come. For the outage it is
killed in the middle and started again. CPU time is of this process without what it takes to make the events.
"""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from rich.console import Console
from rich.table import Table

from bench.receiver import Receiver
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import Event, EventType
from otel_netagent.outputs.otlp.attributes import agent_resource
from otel_netagent.outputs.otlp.connect import connect
from otel_netagent.outputs.otlp.environment import Compression, Destination, Protocol, Signal
from otel_netagent.outputs.otlp.logs import LogsEncoder, Observed
from otel_netagent.outputs.sending import Delivery, DeliveryStatistics, Limits, SpoolPlace, close_all

_NODE: Final = "node"
_START_NS: Final = 1_700_000_000_000_000_000
_TICK_S: Final = 0.01
_SAMPLE: Final = 20_000
_LIMITS: Final = Limits(capacity=8_192, batch=512, linger_s=1.0)  # as the agent has them
_ATTRIBUTES: Final = (
    Attribute("network.transport", str, "protocol", before=" protocol="),
    Attribute("code.stacktrace", str, "the kernel's stack", before=" stacktrace:"),
)
_TYPE: Final = EventType("PACKETLOSS", "netagent.packetloss", "the kernel drops a packet", _ATTRIBUTES)
_STACK: Final = "skb_release_data+0xA3 __kfree_skb+0xE tcp_recvmsg+0x61D inet_recvmsg+0x58 sock_read_iter+0x92"
_PODS: Final = [
    Entity(4_026_532_000 + number, number, EntityKind.POD, f"web-{number}", "shop", _START_NS) for number in range(100)
]


@click.command()
@click.option("--rate", default=20_000, show_default=True, help="Events a second.")
@click.option("--seconds", default=10, show_default=True, help="How long.")
@click.option("--outage", default=5, show_default=True, help="Seconds that the receiver is dead in the second run.")
@click.option("--gzip", is_flag=True, help="Compress requests.")
def main(rate: int, seconds: int, outage: int, gzip: bool) -> None:
    """Print what arrived and what it cost."""
    table = Table(title=f"{rate} events/s for {seconds} s by gRPC{', gzip' if gzip else ''}", title_justify="left")
    columns = ("run", "put", "arrived", "lost", "twice", "last after s", "spool most MiB", "CPU %", "CPU us/event")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    compression = Compression.GZIP if gzip else Compression.NONE
    for name, dead_s in (("steady", 0), (f"outage of {outage} s", outage)):
        result = _run(rate, seconds, dead_s, compression)
        table.add_row(name, *result.cells(rate * seconds, seconds))
    Console(width=120).print(table)


@dataclass(frozen=True, slots=True)
class _Result:
    statistics: DeliveryStatistics
    missing: int
    twice: int
    behind_s: float
    spool_bytes: int
    cpu_s: float

    def cells(self, put: int, seconds: int) -> tuple[str, ...]:
        return (
            str(put),
            str(put - self.missing),
            str(self.missing),
            str(self.twice),
            f"{self.behind_s:.2f}",
            f"{self.spool_bytes / 2**20:.1f}",
            f"{100 * self.cpu_s / (seconds + self.behind_s):.1f}",
            f"{1e6 * self.cpu_s / put:.1f}",
        )


def _run(rate: int, seconds: int, dead_s: int, compression: Compression) -> _Result:
    total = rate * seconds
    with tempfile.TemporaryDirectory() as directory, Receiver(total, _number) as receiver:
        target = Destination(Signal.LOGS, Protocol.GRPC, receiver.address, tls=None, compression=compression)
        encoder = LogsEncoder(agent_resource(_NODE, kubernetes=False), _NODE)
        spool = SpoolPlace(Path(directory), 1 << 30)
        delivery = Delivery("OTLP logs", encoder, connect(target), _LIMITS, spool=spool)
        faults = threading.Thread(target=receiver.fail, args=(seconds / 4, dead_s)) if dead_s else None
        if faults:
            faults.start()
        cpu_s, spooled, behind_s = _put_all(delivery, rate, total)
        if faults:
            faults.join()
        close_all([delivery], within_s=10)
    return _Result(delivery.statistics, receiver.missing, receiver.twice, behind_s, spooled, cpu_s)


def _put_all(delivery: Delivery[Observed], rate: int, total: int) -> tuple[float, int, float]:
    """CPU seconds of delivering, the most bytes in the spool, and how long after the last event all had arrived."""
    making_s = _cost_of_making(total)
    cpu_began, began = time.process_time(), time.monotonic()
    number, most_spooled = 0, 0
    while number < total:
        due = min(total, int((time.monotonic() - began) * rate))
        for each in range(number, due):
            delivery.put(_observed(each))
        if number // rate != due // rate:  # each second
            most_spooled = max(most_spooled, delivery.statistics.spool_bytes)
        number = due
        time.sleep(_TICK_S)
    ended = time.monotonic()
    while (statistics := delivery.statistics).delivered + sum(statistics.dropped.values()) < total:
        most_spooled = max(most_spooled, statistics.spool_bytes)
        time.sleep(_TICK_S)
    return time.process_time() - cpu_began - making_s, most_spooled, time.monotonic() - ended


def _cost_of_making(total: int) -> float:
    began = time.thread_time()
    for number in range(_SAMPLE):
        _observed(number)
    return (time.thread_time() - began) * total / _SAMPLE


def _observed(number: int) -> Observed:
    pod = _PODS[number % len(_PODS)]
    attributes: dict[str, AttributeValue] = {
        "network.transport": "tcp",
        "network.type": "ipv4",
        "source.address": f"10.0.{number % 7}.{number % 250}",
        "source.port": 443,
        "destination.address": "10.1.17.188",
        "destination.port": 32_768 + number % 28_000,
        "netagent.drop.reason": "NO_SOCKET",
        "code.stacktrace": _STACK,
    }
    time_ns = _START_NS + number
    event = Event("packetloss", _TYPE, time_ns, pod.netns, pod.netns, attributes)
    return Observed(AttributedEvent(event, pod), time_ns)


def _number(record: LogRecord) -> int:
    """Which event it is."""
    return record.time_unix_nano - _START_NS


if __name__ == "__main__":
    main()
