"""How long a scrape takes, at moments of its own choosing, of an agent that collects every second.

    .venv/bin/python -m bench.scrape --namespaces 1000

Measured is what Prometheus would measure: from before the connection until the last byte is there. The aim is a 99th
percentile of less than 50 ms at 1,000 pods.
"""

from __future__ import annotations

import http.client
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bench.needs import require_root
from bench.pods import pods
from otel_netagent.identity.registry import SETTLING_S
from otel_netagent.probes import catalogue
from tests.agent.running import Agent

_CODINGS: Final = ("gzip", "identity")
_WARM_UP: Final = 5


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape took, and the bytes that came."""

    ms: float
    length: int


@click.command()
@click.option("--namespaces", default=1_000, show_default=True, help="Network namespaces to make.")
@click.option("--scrapes", default=500, show_default=True, help="Scrapes with and without gzip, each.")
@click.option("--gap", default=0.1, show_default=True, help="Seconds between two of them, on average.")
@click.option("--all-probes", is_flag=True, help="Run also the probes that are off by default.")
def main(namespaces: int, scrapes: int, gap: float, all_probes: bool) -> None:
    """Print how long scrapes take."""
    require_root("ip")
    metric = {"probes": sorted(name for name, probe in catalogue().items() if probe.series)} if all_probes else {}
    table = Table(title=f"{scrapes} scrapes, {namespaces:,} namespaces, a collection each second", title_justify="left")
    for number, column in enumerate(("coding", "MB", "p50 ms", "p99 ms", "max ms", "agent's CPU %")):
        table.add_column(column, justify="right" if number else "left")
    with pods(namespaces), tempfile.TemporaryDirectory() as directory, Agent(Path(directory), metric=metric) as agent:
        time.sleep(SETTLING_S)
        for coding in _CODINGS:
            table.add_row(coding, *_figures(agent, coding, scrapes, gap))
    Console(width=100).print(table)


def _figures(agent: Agent, coding: str, scrapes: int, gap: float) -> tuple[str, ...]:
    chance = random.Random(scrapes)  # noqa: S311 - the same moments at each call
    for _ in range(_WARM_UP):
        scrape(agent.http, coding)
    cpu_s, began = agent.cpu_seconds(), time.monotonic()
    done = []
    for _ in range(scrapes):
        time.sleep(chance.expovariate(1 / gap))
        done.append(scrape(agent.http, coding))
    busy = (agent.cpu_seconds() - cpu_s) / (time.monotonic() - began)
    percentiles = statistics.quantiles((scrape.ms for scrape in done), n=100, method="inclusive")
    most = max(done, key=lambda scrape: scrape.ms)
    return (
        f"{done[-1].length / 1e6:.2f}",
        f"{percentiles[49]:.1f}",
        f"{percentiles[98]:.1f}",
        f"{most.ms:.1f}",
        f"{100 * busy:.1f}",
    )


def scrape(port: int, coding: str) -> Scrape:
    """Scrape the agent at this port, and take the answer in this coding."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": coding})
    length = len(connection.getresponse().read())
    connection.close()
    return Scrape((time.perf_counter() - began) * 1e3, length)


if __name__ == "__main__":
    main()
