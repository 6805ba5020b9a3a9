"""The installed `inspector` command in a process of its own."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

INSPECTOR = str(Path(sys.executable).with_name("inspector"))


class Running:
    """A running `inspector`, whose lines can be waited for."""

    def __init__(self, *arguments: str) -> None:
        """Start it, with the disposition of Ctrl-C that a terminal gives: what runs in the background ignores it."""
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", INSPECTOR, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._out, self._err = (_Lines(stream) for stream in (self.process.stdout, self.process.stderr) if stream)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Make sure that it has ended."""
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()

    def line(self) -> str:
        """The next line of standard output."""
        return self._out.next()

    def notice(self) -> str:
        """The next line of standard error."""
        return self._err.next()

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(timeout=30)


class _Lines:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def next(self) -> str:
        """The next line; empty at the end."""
        return self._lines.get(timeout=30)

    def close(self) -> None:
        """After the end of the process."""
        self._reader.join()
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")
