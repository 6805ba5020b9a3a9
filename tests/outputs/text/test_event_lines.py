"""Events as lines."""

from __future__ import annotations

from otel_netagent.outputs.text.event_lines import TextSink
from otel_netagent.outputs.text.line_queue import LineKind, LineQueue
from tests.outputs.samples import make_event


def written(*bodies: str) -> bytes:
    """What is put into the queue for events of these bodies."""
    queue = LineQueue()
    sink = TextSink(queue)
    for body in bodies:
        sink.write(make_event(body=body))
    return b"".join(lines.content for lines in queue.take(1 << 20))


def test_event_is_its_line() -> None:
    assert written("protocol=TCP saddr=::1 sport=1 daddr=::1 dport=2", "other") == (
        b"type=TCPRESET_NOSOCK pod=web-0 namespace=shop protocol=TCP saddr=::1 sport=1 daddr=::1 dport=2\n"
        b"type=TCPRESET_NOSOCK pod=web-0 namespace=shop other\n"
    )


def test_command_name_cannot_forge_a_line() -> None:
    content = written("comm=a\ntype=PACKETLOSS\x1b[2J\udc80")
    assert content.endswith(b"comm=a\\ntype=PACKETLOSS\\x1b[2J\\udc80\n")
    assert content.count(b"\n") == 1


def test_line_that_is_lost_is_counted_as_that_of_an_event() -> None:
    queue = LineQueue(0)
    TextSink(queue).write(make_event())
    assert (queue.lost(LineKind.EVENT), queue.lost(LineKind.LOG)) == (1, 0)
