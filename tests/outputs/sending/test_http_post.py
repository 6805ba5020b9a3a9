"""How an answer is read: all of it, in few steps, in both ways that HTTP delimits it."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import pytest

from otel_netagent.outputs.sending.http_post import Answer, Post
from tests.outputs.otlp.receivers import HttpAnswer, http_receiver

COMPLAINT = bytes(range(256)) * 40
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (COMPLAINT[:7], COMPLAINT[7:], b""))


def posted(answer: HttpAnswer) -> tuple[Answer, int]:
    """What came back, and how many functions of Python were called for it."""
    calls: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _function: object) -> None:
        calls[event] += 1

    with http_receiver(answer) as receiver:
        post = Post(f"http://127.0.0.1:{receiver.port}/", {}, None, timeout_s=60)
        sys.setprofile(count)
        try:
            received = post.send(b"")
        finally:
            sys.setprofile(None)
        post.close()
    return received, calls["call"]


@pytest.mark.parametrize(
    "answer", [HttpAnswer(400, COMPLAINT), HttpAnswer(400, CHUNKS, {"Transfer-Encoding": "chunked"})], ids=str
)
def test_an_answer_is_read_in_few_steps(answer: HttpAnswer) -> None:
    received, calls = posted(answer)
    assert received.content == COMPLAINT
    assert calls < len(COMPLAINT)


def test_of_a_long_answer_no_more_than_its_beginning_is_kept() -> None:
    received, _ = posted(HttpAnswer(400, COMPLAINT * 10))
    assert received.content == (COMPLAINT * 10)[: 16 << 10]
