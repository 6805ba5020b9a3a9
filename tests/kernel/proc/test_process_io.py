"""What a process has read and written is what the kernel counts of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.waiting import eventually
from otel_netagent.kernel.proc import process_io
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.process_io import Io


def _account_of_reader(reads: int) -> Io:
    """Of a process that has read so many times from a pipe, and waits at it."""
    program = f"import os\nfor _ in range({reads}): os.read(0, 1)\nos.write(1, b'x')\nos.read(0, 1)"
    command = [sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        os.write(reader.stdin.fileno(), bytes(reads))
        os.read(reader.stdout.fileno(), 1)
        assert eventually(lambda: " S " in Path(f"/proc/{reader.pid}/stat").read_text())  # waits, with all counted
        whole = process_io.io_of(reader.pid)
        assert whole is not None
        assert whole == process_io.io_of_thread(reader.pid, reader.pid)
        reader.stdin.close()
    return whole


def test_each_call_is_counted() -> None:
    few, many = _account_of_reader(1), _account_of_reader(1001)
    assert many.syscr - few.syscr == 1000
    assert many.syscw == few.syscw


numbers = st.integers(min_value=0, max_value=2**64 - 1)


@given(st.lists(numbers, min_size=7, max_size=7))
def test_any_table_is_read_back(values: list[int]) -> None:
    names = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes")
    text = "".join(f"{name}: {value}\n" for name, value in zip(names, values, strict=True))
    assert process_io.parse_io(text) == Io(*values[2:6])


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        process_io.parse_io(text)


TEXT = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 0), ("syscr: 3\n", 1), (TEXT.replace("4", "x"), 4), (TEXT.replace("4", "-4"), 4), (TEXT + "\n", 8)],
)
def test_a_malformed_table_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedTable, match=f"^/proc/7/io, line {line}: "):
        process_io.parse_io(text, "/proc/7/io")


def test_a_process_that_is_gone_is_none(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert process_io.io_of(child.pid) is None
    assert process_io.io_of_thread(child.pid, child.pid) is None
