"""`inspector list` against a real HTTP server that answers as the agent does."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.cli.inspector.listing import age_text
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.probe_status import HookStatus, ProbeState, ProbeStatus, Refusal
from otel_netagent.outputs.http.status import AgentStatus
from tests.cli.terminal import INSPECTOR
from tests.http_serving import Handler, Server, listening

FENTRY_REFUSED = Refusal("fentry/tcp_v4_send_reset", "EPERM: this kernel lets nobody attach to functions [lockdown]")
KPROBE_REFUSED = Refusal(
    "kprobe/tcp_v4_send_reset", "ENOENT: no kprobe events\nin this kernel" + ", as it says at length" * 12
)
FELL_BACK = HookStatus("MIBs of every namespace", "procfs", (Refusal("iter/task", "the verifier said no"),))

LONGEST = "".join(f"{n:09}" for n in range(7))
ENTITIES = (
    Entity(4026531840, 840, EntityKind.HOST, "hostNetwork", "hostNetwork", 0),
    Entity(4026532222, 222, EntityKind.POD, "web-7d4b9c5f6-x2x4k", "shop", 0, "uid", "4f66" * 16),
    Entity(4026532223, 223, EntityKind.POD, LONGEST, "z" * 63, 0, "uid", "4f66" * 16),
    Entity(4026532300, 300, EntityKind.NETNS, "[blue]", "netNamespace", 0),
)
STATUS = AgentStatus(
    version="0.1.0",
    node="node-7",
    kernel="6.18.0",
    btf="/sys/kernel/btf/vmlinux",
    probes=(
        ProbeStatus("tcp", ProbeState.RUNNING, (FELL_BACK,), "", ("CAP_BPF", "CAP_PERFMON"), "0.1 ms"),
        ProbeStatus(
            "tcpreset",
            ProbeState.DEGRADED,
            (
                HookStatus("resets received", "tp_btf/tcp_receive_reset"),
                HookStatus("resets sent", None, (FENTRY_REFUSED, KPROBE_REFUSED)),
            ),
        ),
        ProbeStatus("virtcmdlatency", ProbeState.UNAVAILABLE, reason="no virtio-net in this kernel"),
        ProbeStatus("udp", ProbeState.OFF, cost="0.2 ms"),
    ),
    entities={entity.netns_cookie: entity for entity in ENTITIES},
)

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts HTTP servers that answer GET /status with the given bytes; gives their HOST:PORT."""
    with ExitStack() as servers:

        def start(body: bytes) -> str:
            class Agent(Handler):
                def do_GET(self) -> None:
                    self.answer(200 if self.path == "/status" and body else 404, body)

            server = Server(Agent)
            servers.enter_context(listening(server))
            return f"127.0.0.1:{server.server_port}"

        yield start


@pytest.fixture
def agent(serve: Serve) -> str:
    return serve(STATUS.to_json().encode())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([INSPECTOR, *arguments], capture_output=True, text=True, check=False, timeout=30)


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """Lines that a terminal of this width shows, without its control sequences."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")} | {
        "TERM": "dumb"
    }
    shown = bytearray()
    with subprocess.Popen([INSPECTOR, *arguments], stdout=follower, env=environment) as process:
        os.close(follower)
        while chunk := _read(leader):
            shown += chunk
    os.close(leader)
    assert process.returncode == 0
    return shown.decode().splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody writes any more
        return b""


def test_probes_a_row_a_hook(agent: str) -> None:
    done = run("list", "probe", "-e", agent)
    assert (done.returncode, done.stderr) == (0, "")
    first, header, *rows = done.stdout.splitlines()
    assert first == "node-7: otel-netagent 0.1.0, kernel 6.18.0, BTF /sys/kernel/btf/vmlinux"
    assert header.split() == ["PROBE", "STATE", "WATCHES", "ATTACHED", "BY", "REASON"]
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert cells == [
        ["tcp", "running", "MIBs of every namespace", "procfs"],
        ["tcpreset", "degraded", "resets received", "tp_btf/tcp_receive_reset"],
        ["tcpreset", "degraded", "resets sent", "-"],
        ["tcpreset", "degraded", f"rejected fentry/tcp_v4_send_reset: {FENTRY_REFUSED.reason}"],
        ["tcpreset", "degraded", f"rejected kprobe/tcp_v4_send_reset: {KPROBE_REFUSED.reason}".replace("\n", " ")],
        ["virtcmdlatency", "unavailable", "-", "-", "no virtio-net in this kernel"],
        ["udp", "off", "-", "-"],
    ]


def test_verbose_also_shows_what_was_refused_before_another_way_was_found(agent: str) -> None:
    assert "the verifier said no" not in run("list", "probe", "-e", agent).stdout
    assert "rejected iter/task: the verifier said no\n" in run("list", "probe", "-e", agent, "-v").stdout


def test_verbose_also_shows_what_each_needs_and_costs(agent: str) -> None:
    assert "CAP_BPF" not in run("list", "probe", "-e", agent).stdout
    shown = run("list", "probe", "-e", agent, "-v").stdout.splitlines()
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in shown]
    assert [row for row in cells if row[-1].startswith("needs ")] == [
        ["tcp", "running", "needs CAP_BPF, CAP_PERFMON; cost: 0.1 ms"],
        ["udp", "off", "needs no capability of its own; cost: 0.2 ms"],
    ]


def test_entities_host_first_brackets_and_all(agent: str) -> None:
    done = run("list", "entity", "-e", agent)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = (line.split() for line in done.stdout.splitlines())
    assert header == ["NETNS", "KIND", "POD", "NAMESPACE", "CONTAINER", "AGE"]
    days = age_text(time.time_ns()).partition("d")[0]
    assert [row[:-1] for row in rows] == [
        ["4026531840", "host", "hostNetwork", "hostNetwork", "-"],
        ["4026532300", "netns", "[blue]", "netNamespace", "-"],
        ["4026532222", "pod", "web-7d4b9c5f6-x2x4k", "shop", "4f664f664f66"],
        ["4026532223", "pod", LONGEST, "z" * 63, "4f664f664f66"],
    ]
    assert all(row[-1].startswith(f"{days}d") for row in rows)


def test_terminal_of_100_columns_shows_every_reason_within_them(agent: str) -> None:
    lines = on_terminal(100, "list", "probe", "-e", agent)
    assert max(len(line.rstrip()) for line in lines) <= 100
    assert " ".join(KPROBE_REFUSED.reason.split()) in column(lines[1:], "REASON", None)


def test_terminal_of_100_columns_shows_every_name_within_them(agent: str) -> None:
    lines = on_terminal(100, "list", "entity", "-e", agent)
    assert max(len(line.rstrip()) for line in lines) <= 100
    assert LONGEST in column(lines, "POD", "NAMESPACE").replace(" ", "")
    assert "z" * 63 in column(lines, "NAMESPACE", "CONTAINER").replace(" ", "")


def column(lines: list[str], header: str, following: str | None) -> str:
    """Text of a column of a table, its lines joined by blanks."""
    start, end = lines[0].index(header), lines[0].index(following) if following else None
    return " ".join(line[start:end].strip() for line in lines[1:])


def test_json_is_what_the_agent_says(agent: str) -> None:
    document = json.loads(STATUS.to_json())
    assert json.loads(run("list", "probe", "-e", agent, "-o", "json").stdout) == document["probes"]
    assert json.loads(run("list", "entity", "-e", agent, "-o", "json").stdout) == document["entities"]


def test_nobody_there_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    done = run("list", "probe", "-e", f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: cannot reach 127.0.0.1:{port}: Connection refused; is the agent running there, "
        f"with metric_config.port {port}?\n"
    )


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"", "HTTP status 404"),
        (b"<html>", "something other than a status"),
        (b"[]", "something other than a status"),
        (b'{"version": "1"}', "something other than a status"),
        (b'{"entities": 7}', "something other than a status"),
        (b"\xff", "something other than a status"),
    ],
)
def test_another_server_is_one_clear_line(serve: Serve, body: bytes, answer: str) -> None:
    address = serve(body)
    done = run("list", "entity", "-e", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: {address} answers GET /status with {answer}: it is not the HTTP port of an otel-netagent of this "
        "version (metric_config.port)\n"
    )


def test_server_that_does_not_speak_http_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\0\0\4\4 gibberish\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = run("list", "probe", "-e", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert done.returncode == 1
    assert "answers GET /status with something other than HTTP" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m0s"),
        (725, "12m5s"),
        (3600, "1h0m"),
        (15120, "4h12m"),
        (273600, "3d4h"),
    ],
)
def test_age(seconds: int, text: str) -> None:
    assert age_text(seconds * 10**9) == text


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_ages_keep_their_order(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert _seconds(age_text(low)) <= _seconds(age_text(high))


def _seconds(text: str) -> int:
    total, digits = 0, ""
    for character in text:
        if character.isdigit():
            digits += character
        else:
            total += int(digits) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[character]
            digits = ""
    return total
