"""`inspector watch` against real event streams."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest

from otel_netagent.cli.inspector.event_name import EventNameType
from otel_netagent.outputs.stream.service import EventStream
from otel_netagent.pipeline.suppressed import EVENTS_SUPPRESSED
from otel_netagent.probes import catalogue
from tests.cli.terminal import INSPECTOR, Running
from tests.outputs.stream.samples import DB, NODE, WEB, loss, other, reset, wait_until
from tests.outputs.stream.silent import silent_server

LINE_OF_WEB = (
    " INFO  TCPRESET_NOSOCK Namespace=shop Pod=web-0 Node=node-7 Netns=4026531993 10.0.0.1:80 -> 10.0.0.2:4000"
)


@pytest.fixture
def stream() -> Iterator[EventStream]:
    with EventStream(NODE, 0) as stream:
        yield stream


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


def test_one_line_an_event_and_a_quiet_end_by_ctrl_c(stream: EventStream) -> None:
    with Running("watch", "-e", f"127.0.0.1:{stream.port}") as inspector:
        wait_until(lambda: stream.subscribers == 1)
        stream.publish(reset(WEB))
        assert inspector.line() == LINE_OF_WEB
        assert inspector.interrupt() == 130
        assert (inspector.line(), inspector.notice()) == ("", "")
    wait_until(lambda: stream.subscribers == 0)


def test_ctrl_c_ends_it_although_no_event_ever_came(stream: EventStream) -> None:
    with Running("watch", "-e", f"[::1]:{stream.port}") as inspector:
        wait_until(lambda: stream.subscribers == 1)
        assert inspector.interrupt() == 130
        assert (inspector.line(), inspector.notice()) == ("", "")


def test_filters_reach_the_agent(stream: EventStream) -> None:
    arguments = ["--type", "TCP_SEND_RST_NOSock", "--pod", "web-0", "--namespace", "shop"]
    with Running("watch", "-e", f"127.0.0.1:{stream.port}", *arguments) as inspector:
        wait_until(lambda: stream.subscribers == 1)
        for event in (loss(WEB), reset(DB), reset(WEB)):
            stream.publish(event)
        assert inspector.line() == LINE_OF_WEB


_EVENTS = {
    "reset of web": reset(WEB, "protocol=TCP saddr=10.0.0.1 sport=1 daddr=10.0.0.2 dport=4000"),
    "loss of web": loss(WEB, "protocol=TCP saddr=10.0.0.1 sport=2 daddr=10.0.0.2 dport=4000"),
    "other of web": other(WEB, "sport=3"),
    "reset of db": reset(DB, "protocol=TCP saddr=10.0.0.1 sport=4 daddr=10.0.0.2 dport=4000"),
    "loss of third": loss(
        dataclasses.replace(WEB, pod="web-1"), "protocol=TCP saddr=10.0.0.1 sport=5 daddr=10.0.0.2 dport=4000"
    ),
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "--type TCP_SEND_RST_NOSock --type packetloss",
            ["reset of web", "loss of web", "reset of db", "loss of third"],
        ),
        ("--pod web-0 --pod db-0", ["reset of web", "loss of web", "other of web", "reset of db"]),
        ("--namespace data --namespace nowhere", ["reset of db"]),
        ("--namespace shop --namespace data --pod db-0 --pod web-1", ["reset of db", "loss of third"]),
        ("--type tcpreset --type PACKETLOSS --pod web-0 --pod db-0", ["reset of web", "loss of web", "reset of db"]),
        ("--type tcpreset --pod db-0 --pod web-1", ["reset of db"]),
        ("--type tcpreset --type packetloss --pod web-1", ["loss of third"]),
    ],
)
def test_repeated_values_are_alternatives(arguments: str, expected: list[str]) -> None:
    with (
        EventStream(NODE, 0) as stream,
        Running("watch", "-v", "-e", f"127.0.0.1:{stream.port}", *arguments.split()) as inspector,
    ):
        wait_until(lambda: stream.subscribers == 1)
        for event in _EVENTS.values():
            stream.publish(event)
        stream.close()
        assert inspector.notice().startswith("inspector: lost ")
        inspector.interrupt()
        shown = [json.loads(line)["event"] for line in iter(inspector.line, "")]
    assert shown == [_EVENTS[name].event.body for name in expected]


def test_older_agent_is_asked_for_no_alternatives_and_watched() -> None:
    with silent_server() as port, Running("watch", "-e", f"127.0.0.1:{port}", "--pod", "web-0") as inspector:
        with pytest.raises(subprocess.TimeoutExpired):
            inspector.process.wait(timeout=2)
        assert inspector.interrupt() == 130
        assert inspector.notice() == ""


def test_older_agent_that_would_ignore_alternatives_is_not_watched() -> None:
    for repeated in (["--type", "tcpreset", "--type", "packetloss"], ["--pod", "web-0", "--pod", "db-0"]):
        with silent_server() as port, Running("watch", "-e", f"127.0.0.1:{port}", *repeated) as inspector:
            assert inspector.wait() == 1
            assert inspector.notice().startswith(
                f"Error: cannot watch 127.0.0.1:{port}: this agent is older, and accepts one value each of --type, "
                "--pod and --namespace; "
            )
            assert (inspector.line(), inspector.notice()) == ("", "")


def test_of_several_names_the_unknown_one_is_refused(free_port: int) -> None:
    names = ["--type", "tcpreset", "--type", "packetlos", "--type", "PACKETLOSS"]
    with Running("watch", "-e", f"127.0.0.1:{free_port}", *names) as inspector:
        assert inspector.wait() == 2
        *_, error = (inspector.notice() for _ in ("usage", "where help is", "", "error"))
    assert error.startswith("Error: Invalid value for '--type': 'packetlos' is neither a type of event nor a probe")


def test_several_agents_are_merged_and_told_apart(stream: EventStream) -> None:
    with EventStream("node-8", 0) as other:
        sources = [f"127.0.0.1:{each.port}" for each in (stream, other)]
        with Running("watch", "-v", "-s", sources[0], "-s", sources[1]) as inspector:
            wait_until(lambda: stream.subscribers == other.subscribers == 1)
            stream.publish(reset(WEB))
            first = json.loads(inspector.line())
            other.publish(loss(DB))
            second = json.loads(inspector.line())
    assert first == {
        "time": "2023-11-14T22:13:20.123456789Z",
        "level": "INFO",
        "source": sources[0],
        "msg": "TCPRESET_NOSOCK",
        "meta": "shop/web-0 node=node-7 netns=ns4026531993 ",
        "event": "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=4000",
    }
    assert (second["source"], second["meta"]) == (sources[1], "data/db-0 node=node-8 netns=ns4026532222 ")


def test_agent_named_twice_is_watched_once(stream: EventStream) -> None:
    address = f"127.0.0.1:{stream.port}"
    with Running("watch", "-e", address, "-s", address) as inspector:
        wait_until(lambda: stream.subscribers == 1)
        stream.publish(reset(WEB))
        stream.publish(loss(WEB))
        assert inspector.line() == LINE_OF_WEB
        assert "PACKETLOSS" in inspector.line()


def test_agent_that_restarts_is_watched_again(stream: EventStream) -> None:
    address = f"127.0.0.1:{stream.port}"
    with Running("watch", "-e", address) as inspector:
        wait_until(lambda: stream.subscribers == 1)
        stream.close()
        assert (
            inspector.notice()
            == f"inspector: lost {address}: the agent ended the stream; trying again until it is back"
        )
        with EventStream(NODE, stream.port) as restarted:
            assert inspector.notice() == f"inspector: {address} is back"
            restarted.publish(reset(WEB))
            assert inspector.line() == LINE_OF_WEB
            assert inspector.interrupt() == 130
            assert inspector.notice() == ""


def test_nobody_there_is_one_clear_line(free_port: int) -> None:
    with Running("watch", "-e", f"127.0.0.1:{free_port}") as inspector:
        assert inspector.wait() == 1
        assert inspector.notice() == (
            f"Error: cannot watch 127.0.0.1:{free_port}: Connection refused; is the agent running there, "
            f"with event_config.enable true and event_config.port {free_port}?"
        )
        assert (inspector.line(), inspector.notice()) == ("", "")


def test_host_that_does_not_exist_is_one_clear_line() -> None:
    with Running("watch", "-e", "no-such-host.invalid") as inspector:
        assert inspector.wait() == 1
        notice = inspector.notice()
        assert notice.startswith("Error: cannot watch no-such-host.invalid:19102: ")
        assert notice.endswith("with event_config.enable true and event_config.port 19102?")
        assert inspector.notice() == ""


def test_agent_that_never_answers_is_given_up_in_a_few_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with Running("watch", "-e", f"127.0.0.1:{silent.getsockname()[1]}") as inspector:
            assert inspector.wait() == 1
            assert time.monotonic() - begin < 15
            assert "timed out" in inspector.notice()


def _http2_frame(kind: int, payload: bytes) -> bytes:
    """A frame of the connection itself (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


_SETTINGS = _http2_frame(4, b"")
_TOO_MANY_PINGS = _http2_frame(7, struct.pack(">II", 0, 11) + b"too_many_pings")
"""GOAWAY by ENHANCE_YOUR_CALM (sections 6.8 and 7)."""


def test_what_grpc_itself_has_to_say_is_not_on_the_terminal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as agent:
        address = f"127.0.0.1:{agent.getsockname()[1]}"
        with Running("watch", "-e", address) as inspector:
            with agent.accept()[0] as connection:
                agent.close()
                connection.sendall(_SETTINGS + _TOO_MANY_PINGS)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5)
                with contextlib.suppress(TimeoutError):  # it does not always leave when it has read that
                    while connection.recv(4096):
                        pass
            inspector.interrupt()
            notice = inspector.notice()
            assert notice == "" or notice.startswith(f"Error: cannot watch {address}: ")
            assert notice == "" or inspector.notice() == ""


def test_one_of_two_agents_missing_does_not_end_the_watch(stream: EventStream, free_port: int) -> None:
    sources = [f"127.0.0.1:{port}" for port in (stream.port, free_port)]
    with Running("watch", "-s", sources[0], "-s", sources[1]) as inspector:
        assert inspector.notice().startswith(f"Error: cannot watch {sources[1]}: Connection refused; ")
        wait_until(lambda: stream.subscribers == 1)
        stream.publish(reset(WEB))
        assert inspector.line() == LINE_OF_WEB
        with EventStream("node-8", free_port):
            assert inspector.notice() == f"inspector: {sources[1]} is back"


def test_agent_with_too_many_watchers_says_so() -> None:
    with EventStream(NODE, 0, max_subscribers=1) as stream, Running("watch", "-e", f"127.0.0.1:{stream.port}"):
        wait_until(lambda: stream.subscribers == 1)
        with Running("watch", "-e", f"127.0.0.1:{stream.port}") as refused:
            assert refused.wait() == 1
            assert "1 clients watch the events of node-7 already, which is the limit" in refused.notice()
            assert refused.notice() == ""


def test_reader_that_goes_away_ends_it_quietly(stream: EventStream) -> None:
    with (
        subprocess.Popen(
            [INSPECTOR, "watch", "-e", f"127.0.0.1:{stream.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as inspector,
    ):
        assert inspector.stdout is not None
        assert inspector.stderr is not None
        wait_until(lambda: stream.subscribers == 1)
        stream.publish(reset(WEB))
        assert inspector.stdout.readline() == LINE_OF_WEB + "\n"
        inspector.stdout.close()
        stream.publish(reset(WEB))
        inspector.wait(timeout=30)
        assert inspector.stderr.read() == ""


def test_address_that_is_none_is_a_usage_error() -> None:
    with Running("watch", "-e", "host:http") as inspector:
        assert inspector.wait() == 2


@pytest.mark.parametrize(("name", "meant"), [
    ("TCPRESET_NOSOK", "TCPRESET_NOSOCK"),
    ("tcpreset_nosok", "TCPRESET_NOSOCK"),
    ("TcpResett", "tcpreset"),
])  # fmt: skip
def test_name_that_no_event_has_is_a_usage_error(name: str, meant: str, free_port: int) -> None:
    """An agent would tell nothing of it, and look as one to which nothing happens."""
    with Running("watch", "-e", f"127.0.0.1:{free_port}", "--type", name) as inspector:
        assert inspector.wait() == 2
        *_, error = (inspector.notice() for _ in ("usage", "where help is", "", "error"))
    assert error.startswith(
        f"Error: Invalid value for '--type': {name!r} is neither a type of event nor a probe that has any; "
        f"did you mean {meant}? allowed here: EVENTS_SUPPRESSED, "
    )


def test_names_are_allowed_by_which_agents_find_events() -> None:
    probes = [probe for probe in catalogue().values() if probe.events]
    types = [EVENTS_SUPPRESSED, *(each for probe in probes for each in probe.events)]
    names = [probe.name for probe in probes] + [name for each in types for name in (each.name, *each.aliases)]
    assert len(names) > 25
    for name in names:
        for spelled in (name, name.lower(), name.upper()):
            assert EventNameType().convert(spelled, None, None) == spelled
