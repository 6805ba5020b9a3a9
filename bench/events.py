"""What events cost on their whole way, from the kernel to a receiver of OTLP, and whether all arrive.

    .venv/bin/python -m bench.events --rate 5000 --rate 20000 --seconds 10

The firewall of one namespace drops datagrams, each of another pair of ports. The agent, whose limit of events is
lifted, tells of each with the kernel's stack, and sends it by gRPC to another process, which decodes what it gets and
marks which events have come. Who sends, the agent and the receiver share the CPUs. Needs root.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Final

import click
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from rich.console import Console
from rich.table import Table

from bench.needs import require_root
from bench.receiver import Receiver
from bench.threads import cpu_seconds
from lab.truth import Family
from tests.agent.running import Agent
from tests.agent.stage import Stage, await_known, named_pair

_SENDERS: Final = range(20_000, 20_020)
_CLOSED: Final = range(21_000, 65_000)
"""Source and destination ports: 880,000 pairs."""

_FIREWALL: Final = f"""
    table inet bench {{
        chain input {{
            type filter hook input priority 0
            udp dport {_CLOSED.start}-{_CLOSED.stop} drop
        }}
    }}
"""
_EVENT: Final = {"events_per_second": 1_000_000, "infotolog": False}
_TICK_S: Final = 0.001
_PATIENCE_S: Final = 3.0


@click.command()
@click.option("--rate", "rates", multiple=True, default=(1_000, 10_000, 20_000), help="Events a second; any number.")
@click.option("--seconds", default=10, show_default=True, help="For how long.")
def main(rates: Sequence[int], seconds: int) -> None:
    """Print what arrived and what it cost, by thread."""
    require_root("ip", "nft")
    runs = [_run(rate, seconds) for rate in rates]
    table = Table(title=f"Events for {seconds} s, to a receiver by OTLP/gRPC", title_justify="left")
    table.add_column("events a second")
    for run in runs:
        table.add_column(f"{run.rate:,}", justify="right")
    table.add_row("dropped by the kernel, of these told", *(f"{run.total:,}, {run.told:,}" for run in runs))
    table.add_row("lost for want of room in the ring", *(f"{run.lost:,}" for run in runs))
    table.add_row("not arrived; twice", *(f"{run.missing:,}; {run.twice:,}" for run in runs))
    table.add_row("the last arrived after, s", *(f"{run.behind_s:.1f}" for run in runs))
    table.add_row("the agent's CPU, % of a core", *(f"{100 * run.cpu_s / seconds:.1f}" for run in runs))
    table.add_row("CPU an event, µs", *(run.an_event(run.cpu_s) for run in runs))
    for name in sorted(runs[-1].threads, key=lambda name: runs[-1].threads[name], reverse=True):
        table.add_row(f"  {name}", *(run.an_event(run.threads.get(name, 0.0)) for run in runs))
    Console(width=120).print(table)


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of the events, and the CPU time of each thread in seconds, by its name."""

    rate: int
    total: int
    told: int
    lost: int
    missing: int
    twice: int
    behind_s: float
    threads: Mapping[str, float]

    @property
    def cpu_s(self) -> float:
        return sum(self.threads.values())

    def an_event(self, cpu_s: float) -> str:
        """In microseconds, for each that was told."""
        return f"{1e6 * cpu_s / self.told:.1f}"


def _run(rate: int, seconds: int) -> _Run:
    total = rate * seconds
    with (
        tempfile.TemporaryDirectory() as directory,
        named_pair() as stage,
        Receiver(total, _number) as receiver,
        _agent(Path(directory), receiver) as agent,
    ):
        await_known(agent, stage)
        stage.pair.server.namespace.command("nft", "-f", "-", stdin=_FIREWALL)
        before = cpu_seconds(agent)
        _send(stage, rate, total)
        behind_s = _await_all(receiver)
        spent = {name: cpu_s - before.get(name, 0.0) for name, cpu_s in cpu_seconds(agent).items()}
        outcomes = agent.next_collection().of(stage.server, "type", "outcome")
        told, lost = (int(outcomes[f"netagent_events_total,PACKETLOSS,{name}"]) for name in ("emitted", "lost"))
        return _Run(rate, total, told, lost, receiver.missing, receiver.twice, behind_s, spent)


def _agent(directory: Path, receiver: Receiver) -> Agent:
    where = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://{receiver.address}"}
    return Agent(directory, metric={"interval": 5}, event=_EVENT, environ=where, debugmode=True)


def _number(record: LogRecord) -> int | None:
    """Which datagram it tells of; None for what others do."""
    ports = {each.key: each.value.int_value for each in record.attributes if each.key.endswith(".port")}
    source, destination = ports.get("source.port", 0), ports.get("destination.port", 0)
    if source not in _SENDERS or destination not in _CLOSED:
        return None
    return (destination - _CLOSED.start) * len(_SENDERS) + source - _SENDERS.start


def _send(stage: Stage, rate: int, total: int) -> None:
    """So many datagrams at this rate, each of another pair of ports."""
    address = stage.pair.server.address(Family.IPV4)
    with _sockets(stage) as sockets:
        number, began = 0, time.monotonic()
        while number < total:
            due = min(total, int((time.monotonic() - began) * rate))
            for each in range(number, due):
                sockets[each % len(sockets)].sendto(b"x", (address, _CLOSED[each // len(sockets)]))
            number = due
            time.sleep(_TICK_S)


@contextlib.contextmanager
def _sockets(stage: Stage) -> Iterator[list[socket]]:
    client = stage.pair.client
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(client.namespace.socket(AF_INET, SOCK_DGRAM)) for _ in _SENDERS]
        for port, each in zip(_SENDERS, sockets, strict=True):
            each.bind((client.address(Family.IPV4), port))
        yield sockets


def _await_all(receiver: Receiver) -> float:
    """Wait for the last event; for how many seconds. What was lost is not waited for longer than it can take."""
    began = time.monotonic()
    missing, arrived = receiver.missing, began
    while missing and time.monotonic() - arrived < _PATIENCE_S:
        time.sleep(_TICK_S * 100)
        if receiver.missing != missing:
            missing, arrived = receiver.missing, time.monotonic()
    return arrived - began


if __name__ == "__main__":
    main()
