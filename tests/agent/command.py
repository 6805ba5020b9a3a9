"""The installed commands in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from lab.waiting import eventually

T = TypeVar("T")

NODE = "node-of-tests"
NETAGENT = str(Path(sys.executable).with_name("otel-netagent"))
INSPECTOR = str(Path(sys.executable).with_name("inspector"))

PATIENCE_S = 30.0
"""For what takes a second on an idle machine."""


class Program:
    """A process whose lines of output are at hand as they come: `out` and `err`."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """Start it in a session of its own, as NODE, with these variables and none of OpenTelemetry's beside them."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.process = subprocess.Popen(
            argv,
            env=inherited | {"NODE_NAME": NODE} | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out, self.err = list[str](), list[str]()
        self._reading = threading.Event()
        self._reading.set()
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [
            threading.Thread(target=_read, args=(stream, lines, self._reading)) for stream, lines in streams if stream
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Make sure that it has ended, and that it never was at a loss."""
        self.process.kill()
        self._end()
        if error is None:
            assert_no_traceback(self.err)
        else:
            error.add_note("\n".join([f"{self.process.args!r} wrote:", *self.out, *self.err]))

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody reads its output within this block: its pipes fill up, and stay full."""
        self._reading.clear()
        try:
            yield
        finally:
            self._reading.set()

    @property
    def pid(self) -> int:
        """Its process id, which is that of its session too."""
        return self.process.pid

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """The exit code, once it has ended of itself and all its lines are here."""
        self.process.wait(timeout=within_s)
        return self._end()

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = PATIENCE_S) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.wait(within_s)

    def eventually(self, condition: Callable[[], T | None], within_s: float = PATIENCE_S) -> T:
        """The first true value of what only the living process can bring about."""

        def true_or_hopeless() -> T | None:
            ended = self.process.poll() is not None
            value = condition()
            assert value or not ended, "\n".join([f"it ended with {self.process.returncode}:", *self.err[-5:]])
            return value

        value = eventually(true_or_hopeless, within_s)
        assert value is not None
        return value

    def _end(self) -> int:
        code = self.process.wait()
        for reader in self._readers:
            reader.join()
        return code


def _read(stream: IO[str], lines: list[str], reading: threading.Event) -> None:
    with stream:
        for line in stream:
            lines.append(line.rstrip("\n"))
            reading.wait()


def assert_no_traceback(lines: Sequence[str]) -> None:
    """No user shall ever see one."""
    assert not [line for line in lines if line.startswith("Traceback")], "\n".join(lines)
