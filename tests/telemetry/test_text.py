"""Events as lines."""

from __future__ import annotations

import io
import os
from contextlib import suppress

from hypothesis import given

from otel_netagent.telemetry.text import TextSink, one_line
from tests.telemetry.samples import ANY_TEXT, make_event


class _Writes(io.StringIO):
    """A stream that remembers its writes one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, text: str, /) -> int:
        self.calls.append(text)
        return super().write(text)


def test_event_is_one_write_of_its_line() -> None:
    stream = _Writes()
    TextSink(stream).write(make_event(body="protocol=TCP saddr=::1 sport=1 daddr=::1 dport=2"))
    assert stream.calls == [
        "type=TCPRESET_NOSOCK pod=web-0 namespace=shop protocol=TCP saddr=::1 sport=1 daddr=::1 dport=2\n"
    ]


def test_command_name_cannot_forge_a_line() -> None:
    stream = io.StringIO()
    TextSink(stream).write(make_event(body="comm=a\ntype=PACKETLOSS\x1b[2J\udc80"))
    assert stream.getvalue().endswith("comm=a\\ntype=PACKETLOSS\\x1b[2J\\udc80\n")
    assert stream.getvalue().count("\n") == 1


@given(ANY_TEXT)
def test_one_line_is_printable(text: str) -> None:
    assert one_line(text).isprintable()
    if text.isprintable():
        assert one_line(text) == text


def test_reader_that_is_gone_is_counted() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", buffering=1)
    sink = TextSink(stream)
    sink.write(make_event())
    assert b"TCPRESET_NOSOCK" in os.read(reader, 4096)
    os.close(reader)
    sink.write(make_event())
    sink.write(make_event())
    assert sink.lost == 2
    with suppress(BrokenPipeError):  # what the pipe did not take is still in the stream
        stream.close()
