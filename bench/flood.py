"""A flood of drops: exact counters, the agent's share of a CPU, and what its neighbours' events have to wait.

    .venv/bin/python -m bench.flood

One namespace drops datagrams as fast as this machine can send them, while connections to closed ports fail in another,
one at a time.
"""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click

from bench.needs import require_root
from lab.counters import counters
from lab.truth import Family
from tests.agent.closed_ports import closed_tcp_port, closed_udp_port
from tests.agent.running import Agent, Told
from tests.agent.stage import Stage, await_known, named_pair


@dataclass(slots=True)
class Neighbour:
    """Connections that fail in a namespace of their own while the flood lasts."""

    stage: Stage
    expected: set[Told | None]

    def run(self, flooded: threading.Event) -> None:
        """One connection every twentieth of a second, which stays below the limit of events."""
        while not flooded.wait(0.05):
            self.expected |= set(closed_tcp_port(self.stage, Family.IPV4))


@click.command()
@click.option("--drops", default=1_000_000, show_default=True, help="Datagrams to drop.")
def main(drops: int) -> None:
    """Flood, and print what became of it."""
    require_root("ip")
    with (
        tempfile.TemporaryDirectory() as directory,
        named_pair() as noisy,
        named_pair() as quiet,
        Agent(Path(directory)) as agent,
    ):
        await_known(agent, noisy, quiet)
        neighbour, flooded = Neighbour(quiet, set()), threading.Event()
        thread = threading.Thread(target=neighbour.run, args=(flooded,))
        cpu_s, began = agent.cpu_seconds(), time.monotonic()
        thread.start()
        closed_udp_port(noisy, Family.IPV4, drops)
        flooded.set()
        thread.join()
        seconds = time.monotonic() - began
        spent = agent.cpu_seconds() - cpu_s

        agent.eventually(lambda: len(agent.event_lines(quiet.pods)) >= len(neighbour.expected))
        heard = {Told.of(line) for line in agent.event_lines(quiet.pods)}
        events = agent.next_collection().of(noisy.server, "type", "outcome")
        kernel = counters(noisy.namespaces[noisy.server])["Udp.NoPorts"]
    outcomes = {
        name: int(events[f"netagent_events_total,PACKETLOSS,{name}"]) for name in ("emitted", "suppressed", "lost")
    }
    print(f"{drops:,} datagrams dropped in {seconds:.1f} s, {drops / seconds:,.0f} a second")
    print(f"the kernel's own counter (Udp NoPorts): {kernel:,}")
    print(f"counted by the agent: {sum(outcomes.values()):,}, of which {outcomes}")
    print(f"the agent's CPU time: {spent:.2f} s, {100 * spent / seconds:.1f} % of a core")
    print(
        f"the neighbour's events: {len(neighbour.expected)} expected, "
        f"{len(neighbour.expected - heard)} missed, {len(heard - neighbour.expected)} false"
    )


if __name__ == "__main__":
    main()
