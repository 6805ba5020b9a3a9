"""The thread that writes: into real pipes, terminals and files, whose other end does as it likes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.waiting import eventually
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.outputs.text.line_writer import LineWriter
from tests.outputs.sending.deliveries import lines as logged

_SMALL = 300_000
"""More than a pipe holds (64 KiB) where lines are of a hundred bytes; a terminal holds less."""

_PATIENCE_S = 20.0
_LINE = "x" * 99


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends, closed afterwards if the test has not."""
    reader, writer = os.pipe()
    yield reader, writer
    for end in (writer, reader):
        with contextlib.suppress(OSError):
            os.close(end)


@contextlib.contextmanager
def writing(queue: LineQueue, descriptor: int) -> Iterator[LineWriter]:
    writer = LineWriter(queue, descriptor)
    yield writer
    writer.close(_PATIENCE_S)


def read_lines(descriptor: int, count: int, at_once: int = 65_536) -> list[bytes]:
    content = b""
    while content.count(b"\n") < count:
        assert select.select([descriptor], [], [], _PATIENCE_S)[0], content[-200:]
        content += os.read(descriptor, at_once)
    return content.splitlines()


def overflow(queue: LineQueue) -> int:
    """Put lines until some are lost; how many were put."""
    put = 0
    while not queue.lost(LineKind.EVENT):
        queue.put(LineKind.EVENT, f"{put:099}")
        put += 1
    return put


def test_a_burst_that_is_read_arrives_whole_and_in_order() -> None:
    with pipe() as (reader, descriptor), writing(queue := LineQueue(), descriptor):
        for number in range(20_000):
            queue.put(LineKind.EVENT, f"{number:0300}")
        assert [int(line) for line in read_lines(reader, 20_000)] == list(range(20_000))
        assert queue.lost(LineKind.EVENT) == 0


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_stalls_and_comes_back(blocking: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whether or not somebody has set O_NONBLOCK on what all who write to it share."""
    with pipe() as (reader, descriptor):
        os.set_blocking(descriptor, blocking)
        with writing(queue := LineQueue(_SMALL), descriptor):
            put = overflow(queue)
            assert not logged(caplog)
            read = read_lines(reader, put - queue.lost(LineKind.EVENT))
            assert [int(line) for line in read] == list(range(len(read)))
            assert len(read) + queue.lost(LineKind.EVENT) == put
            (line,) = eventually(lambda: logged(caplog), _PATIENCE_S)
            assert f": dropped {queue.lost(LineKind.EVENT)} event lines and 0 log lines; " in line
            queue.put(LineKind.EVENT, "after")
            assert read_lines(reader, 1) == [b"after"]
        assert os.get_blocking(descriptor) is blocking, "others share these flags"
    assert len(logged(caplog)) == 1


def test_lines_that_a_pipe_may_tear_are_whole_too() -> None:
    """A non-blocking pipe takes a part of what is more than PIPE_BUF."""
    with pipe() as (reader, descriptor):
        os.set_blocking(descriptor, False)
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
        with writing(queue := LineQueue(), descriptor):
            for letter in "abc":
                queue.put(LineKind.LOG, letter * 50_000)
            assert read_lines(reader, 3) == [letter.encode() * 50_000 for letter in "abc"]


def test_two_writers_lines_do_not_mix() -> None:
    with pipe() as (reader, descriptor):
        queues = [LineQueue(), LineQueue()]
        with writing(queues[0], descriptor), writing(queues[1], descriptor):
            for _ in range(3_000):
                for letter, queue in zip("ab", queues, strict=True):
                    queue.put(LineKind.EVENT, letter * 301)
            # By so little that both writers wait for room, now the one and now the other.
            assert sorted(read_lines(reader, 6_000, at_once=4096)) == [b"a" * 301] * 3_000 + [b"b" * 301] * 3_000


def test_a_terminal_that_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """As by Ctrl-S."""
    master, slave = pty.openpty()
    with contextlib.ExitStack() as undoing:
        for descriptor in (master, slave):
            undoing.callback(os.close, descriptor)
        termios.tcflow(slave, termios.TCOOFF)
        with writing(queue := LineQueue(_SMALL), slave):
            put = overflow(queue)
            termios.tcflow(slave, termios.TCOON)
            assert len(read_lines(master, put - queue.lost(LineKind.EVENT))) + queue.lost(LineKind.EVENT) == put
            assert eventually(lambda: logged(caplog), _PATIENCE_S)


def test_a_reader_that_is_gone_is_counted_and_another_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    descriptor = os.open(fifo, os.O_WRONLY)
    with writing(queue := LineQueue(), descriptor):
        queue.put(LineKind.EVENT, "read")
        assert read_lines(first, 1) == [b"read"]
        os.close(first)
        queue.put(LineKind.EVENT, "lost")
        queue.put(LineKind.LOG, "lost")
        queue.put(LineKind.LOG, "lost")
        eventually(lambda: queue.held == 0, _PATIENCE_S)
        assert (queue.lost(LineKind.EVENT), queue.lost(LineKind.LOG)) == (1, 2)
        assert not logged(caplog)
        second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        queue.put(LineKind.EVENT, "read again")
        assert read_lines(second, 1) == [b"read again"]
        (line,) = eventually(lambda: logged(caplog), _PATIENCE_S)
        assert ": dropped 1 event lines and 2 log lines; " in line
    os.close(second)
    os.close(descriptor)


def test_no_descriptor_at_all_loses_everything() -> None:
    with writing(queue := LineQueue(), -1):
        queue.put(LineKind.EVENT, "lost")
        eventually(lambda: queue.lost(LineKind.EVENT), _PATIENCE_S)


_FULL_DISK = """
import os, resource, sys
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from otel_netagent.outputs.text.line_writer import LineWriter

def settled():
    while queue.held:
        pass

queue = LineQueue()
LineWriter(queue, os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for text in ("first\\nsecond", "third"):
    queue.put(LineKind.EVENT, text)
    settled()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
queue.put(LineKind.EVENT, "fourth")
settled()
print(queue.lost(LineKind.EVENT))
"""
"""A file that may not grow is as a full disk: it takes a part, then nothing (setrlimit(2), EFBIG)."""


@pytest.mark.parametrize(
    ("room", "written", "lost"),
    [(0, "", 3), (6, "first\n", 2), (10, "first\nseco\n", 2), (13, "first\nsecond\n", 1)],
)
def test_a_disk_that_is_full_for_a_while(room: int, written: str, lost: int, tmp_path: Path) -> None:
    file = tmp_path / "log"
    command = [sys.executable, "-c", _FULL_DISK, str(file), str(room)]
    done = subprocess.run(command, check=True, text=True, capture_output=True)
    assert file.read_text() == f"{written}fourth\n"
    assert done.stdout == f"{lost}\n"


def test_the_end_writes_what_waits() -> None:
    with pipe() as (reader, descriptor):
        queue = LineQueue()
        writer = LineWriter(queue, descriptor)
        for _ in range(100):
            queue.put(LineKind.LOG, _LINE)
        writer.close(_PATIENCE_S)
        assert queue.held == 0
        assert "stderr" not in {thread.name for thread in threading.enumerate()}
        assert read_lines(reader, 100) == [_LINE.encode()] * 100


def test_the_end_waits_for_no_reader() -> None:
    with pipe() as (reader, descriptor):
        queue = LineQueue(_SMALL)
        writer = LineWriter(queue, descriptor)
        overflow(queue)
        began = time.monotonic()
        writer.close(0.1)
        assert 0.1 <= time.monotonic() - began < 5.0
        os.close(reader)
        eventually(lambda: queue.held == 0, _PATIENCE_S)
