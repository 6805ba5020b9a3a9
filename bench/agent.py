"""What the agent takes as a whole while nothing happens: CPU time by thread, as part of a core, and memory.

    .venv/bin/python -m bench.agent --namespaces 110

All outputs are on, each with somebody at its other end: metrics and events by OTLP/gRPC, Loki, a subscriber of the
event stream, a scrape every 15 s, and lines on standard error; a collection every 5 s. It is measured from when the
agent has stopped looking again whose the new namespaces are, which it does for a minute. Elsewhere on the machine
nothing should happen: drops and resets of any namespace are events, and cost. The aims are half a per cent of a core
and 80 MB.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import grpc
from rich.console import Console
from rich.table import Table

from bench.needs import require_root
from bench.pods import pods
from bench.scrape import scrape
from bench.threads import cpu_seconds
from otel_netagent.identity.registry import SETTLING_S
from otel_netagent.outputs.http.status import AgentStatus
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream import rpc
from tests.agent.running import Agent
from tests.outputs.loki.server import Loki, serving
from tests.outputs.otlp.receivers import grpc_receiver

_SCRAPE_EVERY_S: Final = 15.0
_MEMORY: Final = re.compile(r"^(Rss|Pss|Anonymous|Private_Clean|Private_Dirty):\s+(\d+) kB$", re.MULTILINE)


@click.command()
@click.option("--namespaces", default=110, show_default=True, help="Network namespaces to make.")
@click.option("--seconds", default=120, show_default=True, help="For how long it is measured.")
@click.option("--no-outputs", is_flag=True, help="Let nobody be at the other ends, and send nothing.")
def main(namespaces: int, seconds: int, no_outputs: bool) -> None:
    """Print what the agent takes."""
    require_root("ip")
    with (
        pods(namespaces),
        tempfile.TemporaryDirectory() as directory,
        (_agent if no_outputs else _agent_with_all_outputs)(Path(directory)) as agent,
    ):
        time.sleep(SETTLING_S + 10)
        # Before the stacks are asked for by which threads are told apart: these take memory.
        memory = Path(f"/proc/{agent.pid}/smaps_rollup").read_text(encoding="ascii")
        before = cpu_seconds(agent)
        told = len(agent.err)
        time.sleep(seconds)
        spent = {thread: cpu_s - before.get(thread, 0.0) for thread, cpu_s in cpu_seconds(agent).items()}
        told = len(agent.err) - told
        entities = len(AgentStatus.from_json(agent.get("/status")[1]).entities)
    _print(spent, seconds, f"The agent at rest, {entities} namespaces, {seconds} s, {told} events")
    megabytes = {name: int(kilobytes) / 1000 for name, kilobytes in _MEMORY.findall(memory)}
    private = megabytes["Private_Clean"] + megabytes["Private_Dirty"]
    Console().print(
        f"RSS {megabytes['Rss']:.0f} MB, of these {megabytes['Anonymous']:.0f} not of files; "
        f"PSS {megabytes['Pss']:.0f} MB, private {private:.0f} MB"
    )


def _agent(directory: Path, event: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Agent:
    return Agent(directory, metric={"interval": 5}, event=event, environ=environ, debugmode=True)


@contextlib.contextmanager
def _agent_with_all_outputs(directory: Path) -> Iterator[Agent]:
    with grpc_receiver(most_bytes=64 << 20) as receiver, serving(Loki()) as loki:
        event = {"loki_enable": True, "loki_address": f"http://127.0.0.1:{loki.port}"}
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
        with _agent(directory, event, environ) as agent, _scraping(agent), _watching(agent):
            yield agent


@contextlib.contextmanager
def _scraping(agent: Agent) -> Iterator[None]:
    enough = threading.Event()

    def scrape_again_and_again() -> None:
        while not enough.wait(_SCRAPE_EVERY_S):
            scrape(agent.http, "gzip")

    thread = threading.Thread(target=scrape_again_and_again)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextlib.contextmanager
def _watching(agent: Agent) -> Iterator[None]:
    """A subscriber that gets all events."""
    with grpc.insecure_channel(f"127.0.0.1:{agent.grpc}") as channel:
        call = rpc.watch_event(channel)(pb.WatchRequest())
        thread = threading.Thread(target=_read_all, args=(call,))
        thread.start()
        yield
    thread.join()


def _read_all(call: Iterator[pb.WatchReply]) -> None:
    with contextlib.suppress(grpc.RpcError):  # the channel is closed
        for _ in call:
            pass


def _print(spent: Mapping[str, float], seconds: int, title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("thread")
    for column in ("CPU ms", "% of a core"):
        table.add_column(column, justify="right")
    rows = sorted(((cpu_s, name) for name, cpu_s in spent.items() if cpu_s >= 0.001), reverse=True)
    for cpu_s, name in (*rows, (sum(spent.values()), "all")):
        table.add_row(name, f"{cpu_s * 1e3:.0f}", f"{cpu_s / seconds * 100:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
