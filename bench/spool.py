"""The spool against sqlite3: the same appended, read and settled, with as few flushes to the disk.

    .venv/bin/python -m bench.spool

Neither is flushed beyond what the kernel does by itself (`synchronous = OFF`); a third line has sqlite3 as it must be
so that a node that loses its power does not damage the whole file. What was appended by a process that is then killed
must come back, and of a file with an overwritten sector as much as can be: `altered` came back as something else.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import click
from rich.console import Console
from rich.table import Table

from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.spool import Spool, SpoolPlace

_SECTOR: Final = bytes(512)
_KEPT: Final = 20


class _Queue(Protocol):
    """What the outbox asks of a spool."""

    def append(self, request: EncodedRequest) -> None:
        """Add the newest."""

    def head(self) -> EncodedRequest | None:
        """The oldest."""

    def settle(self) -> None:
        """Be done with it."""

    def close(self) -> None:
        """Leave the rest there."""


class _Sqlite:
    """A table in the order of its keys; each call is a transaction, as each of the spool's is."""

    def __init__(self, directory: Path, synchronous: str) -> None:
        self._head = 0
        self._database = sqlite3.connect(directory / "spool.sqlite", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {synchronous}")
        self._database.execute("CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY, body BLOB, count INTEGER)")

    def append(self, request: EncodedRequest) -> None:
        self._database.execute("INSERT INTO spool (body, count) VALUES (?, ?)", (request.body, request.count))

    def head(self) -> EncodedRequest | None:
        row = self._database.execute("SELECT id, body, count FROM spool ORDER BY id LIMIT 1").fetchone()
        if row is None:
            return None
        self._head, body, count = row
        return EncodedRequest(body, count)

    def settle(self) -> None:
        self._database.execute("DELETE FROM spool WHERE id = ?", (self._head,))

    def close(self) -> None:
        self._database.close()


_QUEUES: Final[Mapping[str, Callable[[Path], _Queue]]] = {
    "spool": lambda directory: Spool(SpoolPlace(directory, 1 << 40), damaged=lambda _count: None),
    "sqlite3, OFF": lambda directory: _Sqlite(directory, "OFF"),
    "sqlite3, NORMAL": lambda directory: _Sqlite(directory, "NORMAL"),
}


class _Outage(NamedTuple):
    """What one takes of each request: microseconds, and bytes on the disk for each of the body."""

    append_us: float
    settle_us: float
    real_us: float
    disk: float


@click.command()
@click.option("--requests", default=300, show_default=True, help="How many wait at the end of an outage.")
@click.option("--size", default=100_000, show_default=True, help="Bytes of each: some 300 events.")
@click.option("--rounds", default=5, show_default=True, help="Outages of each, in turn; the median counts.")
def main(requests: int, size: int, rounds: int) -> None:
    """Print what each costs, and what it gives back after a kill and after damage."""
    outages: dict[str, list[_Outage]] = {name: [] for name in _QUEUES}
    for _ in range(rounds):
        for name in _QUEUES:
            outages[name].append(_outage(_QUEUES[name], requests, size))
    table = Table(title=f"{requests} requests of {size} bytes", title_justify="left")
    for column in (
        "",
        "append, CPU us",
        "read and settle",
        "all, real us",
        "disk",
        "after a kill",
        "damaged",
        "altered",
    ):
        table.add_column(column, justify="right" if column else "left")
    for name in _QUEUES:
        costs = _Outage(*(statistics.median(each) for each in zip(*outages[name], strict=True)))
        whole, altered = _damaged(_QUEUES[name], requests, size)
        shown = [f"{costs.append_us:.0f}", f"{costs.settle_us:.0f}", f"{costs.real_us:.0f}", f"{costs.disk:.2f}"]
        table.add_row(name, *shown, f"{_killed(name)} of {_KEPT}", f"{whole} of {requests}", str(altered))
    Console(width=120).print(table)


def _outage(queue: Callable[[Path], _Queue], requests: int, size: int) -> _Outage:
    """Append all, then read and settle all."""
    with tempfile.TemporaryDirectory() as name, closing(queue(Path(name))) as spool:
        real, began = time.monotonic(), time.process_time()
        for number in range(requests):
            spool.append(_request(number, size))
        disk = sum(file.stat().st_size for file in Path(name).iterdir())
        appended = time.process_time()
        for _ in _drained(spool):
            pass
        settled, ended = time.process_time(), time.monotonic()
    us = 1e6 / requests
    return _Outage((appended - began) * us, (settled - appended) * us, (ended - real) * us, disk / requests / size)


def _killed(name: str) -> int:
    """How much comes back of what a process appended that killed itself."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-c", _SUICIDE, name, directory], check=False)
        with closing(_QUEUES[name](Path(directory))) as spool:
            return len(list(_drained(spool)))


_SUICIDE: Final = f"""\
import os, signal, sys
from pathlib import Path
from bench.spool import _QUEUES, _request
spool = _QUEUES[sys.argv[1]](Path(sys.argv[2]))
for number in range({_KEPT}):
    spool.append(_request(number, 10_000))
os.kill(os.getpid(), signal.SIGKILL)
"""


def _damaged(queue: Callable[[Path], _Queue], requests: int, size: int) -> tuple[int, int]:
    """How much comes back whole, and how much as something else, where one sector in the middle was overwritten."""
    with tempfile.TemporaryDirectory() as name:
        with closing(queue(Path(name))) as spool:
            for number in range(requests):
                spool.append(_request(number, size))
        largest = max(Path(name).iterdir(), key=lambda file: file.stat().st_size)
        with largest.open("r+b") as file:
            file.seek(largest.stat().st_size // 2)
            file.write(_SECTOR)
        with closing(queue(Path(name))) as spool:
            back = [request == _request(request.count, size) for request in _drained(spool)]
    return sum(back), len(back) - sum(back)


def _drained(spool: _Queue) -> Iterator[EncodedRequest]:
    """All that wait, each settled; as far as it can be read."""
    try:
        while request := spool.head():
            yield request
            spool.settle()
    except sqlite3.DatabaseError as error:
        print(f"sqlite3: {error}", file=sys.stderr)


def _request(number: int, size: int) -> EncodedRequest:
    return EncodedRequest(number.to_bytes(4, "little") * (size // 4), number)


if __name__ == "__main__":
    main()
