"""What the kernel's own tracepoints say, read as the text of tracefs: a witness that shares nothing with the agent."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.truth import Endpoint

_EVENTS = ("skb/kfree_skb", "tcp/tcp_send_reset", "tcp/tcp_receive_reset", "sock/inet_sock_set_state")
_LINE = re.compile(r"^.{16}-(?P<tid>\d+) +\[\d+\] \S+ +[\d.]+: (?P<event>\w+): (?P<text>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Traced:
    """One firing of a tracepoint: its name, its text as the kernel prints it, and whether in the trace's thread."""

    event: str
    text: str
    in_thread: bool

    def __getitem__(self, field: str) -> str:
        """Value of a field, printed as `field=value` or `field: value`. Raises KeyError."""
        match = re.search(rf"\b{field}(?:=|: )(\S+)", self.text)
        if match is None:
            raise KeyError(field)
        return match[1]

    def is_null(self, field: str) -> bool:
        """Whether a pointer is NULL (tracefs shows others only as a hash)."""
        return not self[field].strip("0")

    def endpoint(self, field: str) -> Endpoint:
        """An address with its port, printed as `10.0.0.1:80` or `[fd00::1]:80`."""
        address, _, port = self[field].rpartition(":")
        return Endpoint(address.strip("[]"), int(port))


class Trace:
    """Firings since the trace began, or since the last `forget`.

    What a system call brings about, up to the arrival of its packet at a socket of another namespace, happens in the
    thread that made the call, so that the thread's number distinguishes these firings from all others.
    """

    def __init__(self, instance: Path) -> None:
        """Read from an instance directory of tracefs, for the calling thread."""
        self._text = instance / "trace"
        self._tid = threading.get_native_id()

    def forget(self) -> None:
        """Start again."""
        self._text.write_text("")

    def firings(self) -> list[Traced]:
        """All firings until now, in any thread, in their order."""
        return [
            Traced(line["event"], line["text"], int(line["tid"]) == self._tid)
            for line in _LINE.finditer(self._text.read_text())
        ]


def printed_names(event: Path, field: str) -> frozenset[str]:
    """The names that a tracepoint can print for a field; none where it has no such field."""
    symbolic = re.search(rf"__print_symbolic\(REC->{field}, (.*?)\)", (event / "format").read_text())
    return frozenset(re.findall(r'"(\w+)"', symbolic[1]) if symbolic else ())


@contextlib.contextmanager
def tracefs() -> Iterator[Path]:
    """tracefs, mounted at a place of its own for the time of the block."""
    with tempfile.TemporaryDirectory() as mount_point:
        subprocess.run(["mount", "-t", "tracefs", "tracefs", mount_point], check=True)
        try:
            yield Path(mount_point)
        finally:
            subprocess.run(["umount", mount_point], check=True)


@contextlib.contextmanager
def tracing() -> Iterator[Trace]:
    """Trace in an instance of its own, so that nothing of the machine's changes (ftrace.rst, "Instances")."""
    with tracefs() as directory, contextlib.ExitStack() as undoing:
        instance = Path(tempfile.mkdtemp(prefix="lab-", dir=directory / "instances"))
        undoing.callback(instance.rmdir)
        for event in _EVENTS:
            (instance / "events" / event / "enable").write_text("1")
        yield Trace(instance)
