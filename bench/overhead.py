"""What the agent costs the traffic of others: two loads between two namespaces, without it, with it, and without again.

    .venv/bin/python -m bench.overhead

The agent runs in this process, with its default probes, numbers and events, and collects once a turn, which is more
often than every 5 s. In the other turns nothing of it is in the kernel but the walk, which nobody reads. Each turn with
it is compared with the two beside it, which takes out what changes slowly; these two compared with each other (the
control) say what the machine does by itself. Turns are short and many, since noise of seconds is the rule.

Needs sockperf (Debian: sockperf), which is written for latencies of microseconds. Client and server each keep to a CPU
of their own. The agent gets none besides: on two CPUs it is always in the way of one of them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import re
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.needs import require_root
from lab.links import Pair, joined_pair
from lab.waiting import eventually
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.config.probe_selection import NECESSARY, selected_probes
from otel_netagent.config.schema import Config, EventConfig, MetricConfig
from otel_netagent.outputs.content_coding import gzipped
from otel_netagent.outputs.http.prometheus import PrometheusText
from otel_netagent.outputs.text.event_lines import TextSink
from otel_netagent.outputs.text.line_queue import LineQueue
from otel_netagent.outputs.text.line_writer import LineWriter
from otel_netagent.pipeline.kernel_access import find_kernel_access
from otel_netagent.pipeline.probe_set import ProbeSelection
from otel_netagent.pipeline.sources import Sources
from otel_netagent.probes import catalogue

_PORT: Final = 11111
_MESSAGE_BYTES: Final = 64
_RESAMPLES: Final = 5_000
_VALID: Final = re.compile(r"\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)")
_P99: Final = re.compile(r"percentile 99\.000 = +([\d.]+)")

Figures = Mapping[str, float]
"""What one turn has measured, by what it is called in the table."""


@dataclass(frozen=True, slots=True)
class Load:
    """A client that sends the next message when the answer to the last has come, as fast as that goes."""

    name: str
    options: tuple[str, ...]
    sockets: str
    """Where procfs lists the server's socket."""

    @contextlib.contextmanager
    def served(self, pair: Pair) -> Iterator[None]:
        """Have the server answer during the block."""
        server = pair.server.namespace.run(_start, 0, "server", *self.options, *_address(pair))
        try:
            eventually(lambda: f":{_PORT:04X} " in pair.server.namespace.proc_net(self.sockets))
            yield
        finally:
            server.kill()
            server.communicate()

    def measure(self, pair: Pair, seconds: int) -> Figures:
        """Round trips per second, and what 99 of 100 take at most, in microseconds."""
        argv = ("ping-pong", *self.options, *_address(pair), "--full-rtt", "-t", str(seconds))
        client = pair.client.namespace.run(_start, 1, *argv, "-m", str(_MESSAGE_BYTES))
        text, _ = client.communicate()
        valid, p99 = _VALID.search(text), _P99.search(text)
        if not valid or not p99:
            raise click.ClickException(f"sockperf has measured nothing:\n{text}")
        return {
            f"{self.name}, round trips/s": int(valid[2]) / float(valid[1]),
            f"{self.name}, p99 in µs": float(p99[1]),
        }


LOADS: Final = (Load("TCP", ("--tcp",), "tcp"), Load("UDP", (), "udp"))


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn with the agent between two without."""

    before: Figures
    during: Figures
    after: Figures

    def ratio(self, name: str) -> float:
        """What the agent makes of a figure."""
        return self.during[name] / math.sqrt(self.before[name] * self.after[name])

    def control(self, name: str) -> float:
        """What the machine makes of it meanwhile."""
        return self.after[name] / self.before[name]


@click.command()
@click.option("--turns", default=24, show_default=True, help="Turns with the agent, of each load.")
@click.option("--seconds", default=2, show_default=True, help="Length of each turn.")
@click.option(
    "--probe",
    "opt_in",
    type=click.Choice(sorted(catalogue())),
    multiple=True,
    metavar="NAME",
    help="Another than the necessary ones.",
)
def main(turns: int, seconds: int, opt_in: Sequence[str]) -> None:
    """Print what traffic loses by the agent."""
    require_root("ip", "sockperf", "taskset")
    logging.getLogger("otel_netagent").setLevel(logging.ERROR)  # in each turn it would say what this kernel lacks
    with joined_pair() as pair, _agent(seconds, opt_in) as agent:
        measured = [list(_turns(load, pair, agent, turns, seconds)) for load in LOADS]
    _print(measured)


@dataclass(frozen=True, slots=True)
class SwitchedAgent:
    """The agent but for its ports, to be had and not to be had."""

    sources: Sources
    opt_in: Sequence[str]
    interval_s: float
    text: TextSink

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Run it for the time of the block."""
        named = (NECESSARY, *self.opt_in)
        wanted = selected_probes(
            Config(metric=MetricConfig(probes=named), event=EventConfig(probes=named)), catalogue()
        )
        text = PrometheusText("node")

        def render(snapshot: Snapshot) -> None:
            gzipped(text.render(snapshot))

        self.sources.apply(wanted, [render], [self.text.write], self.interval_s)
        try:
            yield
        finally:
            self.sources.apply(ProbeSelection(frozenset(), frozenset()), [], [], 3600.0)


@contextlib.contextmanager
def _agent(interval_s: float, opt_in: Sequence[str]) -> Iterator[SwitchedAgent]:
    access, lines = find_kernel_access(), LineQueue()
    with (
        contextlib.closing(access.walk.walk),
        contextlib.closing(Sources(catalogue(), access)) as sources,
        Path(os.devnull).open("wb") as nowhere,
    ):
        writer = LineWriter(lines, nowhere.fileno())
        yield SwitchedAgent(sources, opt_in, interval_s, TextSink(lines))
        writer.close(1.0)


def _turns(load: Load, pair: Pair, agent: SwitchedAgent, turns: int, seconds: int) -> Iterator[Turn]:
    with load.served(pair):
        load.measure(pair, seconds)  # warms up
        for _ in track(range(turns), load.name):
            before = load.measure(pair, seconds)
            with agent.on():
                during = load.measure(pair, seconds)
            yield Turn(before, during, load.measure(pair, seconds))


def _address(pair: Pair) -> tuple[str, ...]:
    return "-i", pair.server.ipv4, "-p", str(_PORT)


def _start(cpu: int, *argv: str) -> subprocess.Popen[str]:
    """Start sockperf on one CPU; where there is only one, all share it."""
    cpus = sorted(os.sched_getaffinity(0))
    command = ["taskset", "--cpu-list", str(cpus[cpu % len(cpus)]), "sockperf", *argv]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _print(loads: Sequence[Sequence[Turn]]) -> None:
    """A table of medians, each ratio with the range that holds it in 95 of 100 drawings of as many turns."""
    table = Table(title=f"Traffic between two namespaces, {len(loads[0])} turns", title_justify="left")
    table.add_column("load")
    for column in ("without", "with", "with / without", "95 % interval", "control", "95 % interval"):
        table.add_column(column, justify="right")
    for turns in loads:
        for name in turns[0].before:
            table.add_row(
                name,
                f"{statistics.median(turn.before[name] for turn in turns):,.1f}",
                f"{statistics.median(turn.during[name] for turn in turns):,.1f}",
                *_median_with_interval([turn.ratio(name) for turn in turns]),
                *_median_with_interval([turn.control(name) for turn in turns]),
            )
    Console(width=120).print(table)


def _median_with_interval(ratios: Sequence[float]) -> tuple[str, str]:
    """The median and its bootstrap interval (percentile method)."""
    draw = random.Random(len(ratios))  # noqa: S311 - statistics, the same at each call
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    low, high = medians[_RESAMPLES // 40], medians[-_RESAMPLES // 40]
    return f"{statistics.median(ratios):.3f}", f"{low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main()
