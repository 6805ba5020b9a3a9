"""The two forms of an event's line."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.cli.inspector.lines import json_line, rfc3339, text_line
from otel_netagent.outputs.stream import inspector_pb2 as pb

META = pb.Meta(namespace="kube-system", pod="kube-proxy-worker-tbv5s", node="iZbp1", netns="ns4026531993")
PREFIX = " INFO  E Namespace=kube-system Pod=kube-proxy-worker-tbv5s Node=iZbp1 Netns=4026531993"


def event(value: str, name: str = "E") -> pb.Event:
    return pb.Event(meta=META, name=name, value=value, time_unix_nano=1675414863402118044)


def test_text_line_of_the_documentation() -> None:
    body = "protocol=TCP saddr=10.1.16.255 sport=43186 daddr=100.100.27.15 dport=3128"
    assert text_line(event(body, "TCP_RCV_RST_ESTAB")) == (
        " INFO  TCP_RCV_RST_ESTAB Namespace=kube-system Pod=kube-proxy-worker-tbv5s Node=iZbp1 Netns=4026531993 "
        "10.1.16.255:43186 -> 100.100.27.15:3128"
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            "protocol=TCP saddr=1.2.3.4 sport=5 daddr=6.7.8.9 dport=10  state:TCP_OTHER ",
            "1.2.3.4:5 -> 6.7.8.9:10  state:TCP_OTHER",
        ),
        ("protocol=TCP saddr=fd00::1 sport=5 daddr=::1 dport=10 reason=X", "[fd00::1]:5 -> [::1]:10 reason=X"),
        (
            "protocol=UDP saddr=1.2.3.4 sport=5 daddr=6.7.8.9 dport=10 reason=NO_SOCKET  stacktrace:a+0x1 b+0x2",
            "protocol=UDP 1.2.3.4:5 -> 6.7.8.9:10 reason=NO_SOCKET  stacktrace:a+0x1 b+0x2",
        ),
        ("cpu=1 pid=0 latency=37 ms", "cpu=1 pid=0 latency=37 ms"),
        ("xsaddr=1 sport=5 daddr=6 dport=10", "xsaddr=1 sport=5 daddr=6 dport=10"),
        ("pid=1 comm=\x1b[2J\nevil", r"pid=1 comm=\x1b[2J\nevil"),
        ("", ""),
    ],
)
def test_bodies(body: str, shown: str) -> None:
    assert text_line(event(body)) == f"{PREFIX} {shown}".rstrip()


def test_loss_is_a_warning_that_names_the_node() -> None:
    lost = pb.Event(meta=pb.Meta(node="iZbp1"), name="EVENTS_LOST", value="count=3")
    assert text_line(lost) == " WARN  EVENTS_LOST Node=iZbp1 count=3"
    assert json.loads(json_line(lost, "h:1"))["level"] == "WARN"


def test_json_line_of_the_documentation() -> None:
    body = "protocol=TCP saddr=10.1.17.113 sport=6443 daddr=10.1.17.113 dport=44226  state:TCP_OTHER "
    meta = pb.Meta(namespace="hostNetwork", pod="hostNetwork", node="izbp1", netns="ns0")
    reset = pb.Event(meta=meta, name="TCPRESET_PROCESS", value=body, time_unix_nano=1675414863402118044)
    assert json_line(reset, "10.1.17.113:19102") == (
        '{"time":"2023-02-03T09:01:03.402118044Z","level":"INFO","source":"10.1.17.113:19102","msg":"TCPRESET_PROCESS",'
        '"meta":"hostNetwork/hostNetwork node=izbp1 netns=ns0 ","event":"protocol=TCP saddr=10.1.17.113 sport=6443 '
        'daddr=10.1.17.113 dport=44226  state:TCP_OTHER "}'
    )


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
ADDRESSES = st.ip_addresses().map(str)
PORTS = st.integers(0, 65535)
FIELDS = st.lists(WORDS, max_size=6)
# What a body may not hold is a lone surrogate: it has no UTF-8 form, and protobuf takes none.
BODIES = st.text(st.characters(exclude_categories=["Cs"]))


@given(before=FIELDS, source=ADDRESSES, sport=PORTS, destination=ADDRESSES, dport=PORTS, after=FIELDS)
def test_text_line_shows_the_tuple_and_loses_no_field_around_it(
    *, before: list[str], source: str, sport: int, destination: str, dport: int, after: list[str]
) -> None:
    body = " ".join([*before, f"saddr={source} sport={sport} daddr={destination} dport={dport}", *after])
    words = text_line(event(body)).split(" ")
    start = words.index("Netns=4026531993") + 1
    ends = [f"[{each}]" if ":" in each else each for each in (source, destination)]
    assert words[start:] == [*before, f"{ends[0]}:{sport}", "->", f"{ends[1]}:{dport}", *after]


@given(BODIES, BODIES)
def test_text_line_of_any_event_is_one_printable_line(name: str, body: str) -> None:
    assert text_line(event(body, name)).isprintable()


@given(BODIES)
def test_json_line_of_any_event_is_one_line_and_says_everything(body: str) -> None:
    line = json_line(event(body), "h:1")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == body


@given(st.integers(0, 2**62))
def test_time_reads_back_to_the_nanosecond(time_ns: int) -> None:
    text = rfc3339(time_ns)
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.datetime.fromisoformat(seconds).replace(tzinfo=datetime.UTC)
    assert int(moment.timestamp()) * 10**9 + int(fraction) == time_ns
