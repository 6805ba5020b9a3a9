"""What stands in for `sys.stderr`: all that Python writes there goes through the queue, line by line."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

from otel_netagent.cli.standard_error import QueuedStream
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue


def taken(queue: LineQueue) -> list[str]:
    """What was put in, text by text."""
    queue.end()
    return [lines.content.decode() for lines in queue.take(1 << 20)]


def test_lines_are_log_lines() -> None:
    queue = LineQueue(0)
    print("to be lost", file=QueuedStream(queue))
    assert (queue.lost(LineKind.LOG), queue.lost(LineKind.EVENT)) == (1, 0)


def test_a_line_is_complete_with_its_end() -> None:
    queue = LineQueue()
    stream = QueuedStream(queue)
    assert stream.write("half a li") == 9
    assert not queue.held
    stream.write("ne\nand\nmore")
    stream.write("\n")
    assert taken(queue) == ["half a line\nand\n", "more\n"]


def test_threads_do_not_finish_each_others_lines() -> None:
    queue = LineQueue()
    stream = QueuedStream(queue)
    stream.write("first ")
    other = threading.Thread(target=stream.write, args=("second\n",))
    other.start()
    other.join()
    stream.write("thread\n")
    assert taken(queue) == ["second\n", "first thread\n"]


def test_a_log_line_and_its_traceback_are_one() -> None:
    queue = LineQueue()
    logger = logging.Logger("of this test")
    logger.addHandler(logging.StreamHandler(QueuedStream(queue)))
    logger.error("what", exc_info=ValueError("why"))
    (text,) = taken(queue)
    assert text == "what\nValueError: why\n"


_ALL_THAT_WRITES = """
import logging, sys, threading, traceback, warnings
import click
from otel_netagent.cli.standard_error import queue_standard_error

class Broken:
    def __del__(self):
        raise ValueError("in a finalizer")

queue_standard_error()
logging.warning("from logging")
click.echo("from click", err=True)
warnings.warn("from warnings")
traceback.print_exception(ValueError("from traceback"))
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
Broken()
raise SystemExit("words of the exit")
"""


def test_all_that_python_writes_is_written_before_the_process_ends() -> None:
    command = [sys.executable, "-c", _ALL_THAT_WRITES]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    said = (
        "WARNING:root:from logging",
        "from click",
        "<string>:13: UserWarning: from warnings",
        "ValueError: from traceback",
        "ZeroDivisionError: division by zero",
        "ValueError: in a finalizer",
        "words of the exit",
    )
    assert [line for line in done.stderr.splitlines() if line in said] == [*said]


def test_a_process_without_standard_error_writes_to_no_other_file(tmp_path: Path) -> None:
    """What is opened first gets its number."""
    file = tmp_path / "data"
    program = f"data = open({str(file)!r}, 'w'); assert data.fileno() == 2\n"
    program += _ALL_THAT_WRITES.replace('"words of the exit"', "3")
    command = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", program]
    assert subprocess.run(command, check=False, timeout=30).returncode == 3
    assert file.read_text() == ""
