"""Where the agent cannot run, it says in one line what is wrong, where, and what to do."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.agent.command import NETAGENT, Program
from tests.agent.running import configuration

_AS_NOBODY = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
    # Only to find the command, wherever it is installed.
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip
_WITHOUT_BPF = ("setpriv", "--bounding-set=-sys_admin,-bpf")
_REMEDY = "run it as root (sudo) or with these capabilities"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as holder:
        yield int(holder.getsockname()[1])


def refusal(file: Path, *, prefix: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> list[str]:
    """What the agent says as it ends at once."""
    with Program([*prefix, NETAGENT, "run", "-c", str(file)], environ) as program:
        assert program.wait() == 1
        assert program.out == []
        return program.err


def test_nobody(tmp_path: Path) -> None:
    assert refusal(configuration(tmp_path), prefix=_AS_NOBODY) == [
        f"otel-netagent: not permitted: CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF missing; {_REMEDY}"
    ]


def test_dropped_capability(tmp_path: Path) -> None:
    assert refusal(configuration(tmp_path), prefix=_WITHOUT_BPF) == [
        f"otel-netagent: not permitted: CAP_BPF missing; {_REMEDY}"
    ]


def test_port_of_metrics_in_use(tmp_path: Path, taken_port: int) -> None:
    assert refusal(configuration(tmp_path, metric={"port": taken_port})) == [
        f"otel-netagent: port {taken_port} is in use, perhaps by another otel-netagent "
        f"(`ss -ltnp 'sport = :{taken_port}'` shows by whom): "
        "stop that process, or set metric_config.port to a free port"
    ]


def test_port_of_events_in_use(tmp_path: Path, taken_port: int) -> None:
    assert refusal(configuration(tmp_path, event={"port": taken_port})) == [
        f"otel-netagent: event_config.port: cannot listen on port {taken_port}: Address already in use; free it "
        f"(`ss -ltnp sport = :{taken_port}` shows who holds it), set another port, or set event_config.enable to false"
    ]


def test_each_problem_of_the_configuration_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("metric_config:\n  port: 70000\n  intervall: 5\nevent_config:\n  infotolog: maybe\n")
    lines = refusal(file)
    places = [
        f"{file}:2: metric_config.port: ",
        f"{file}:3: metric_config.intervall: ",
        f"{file}:5: event_config.infotolog: ",
    ]
    assert len(lines) == len(places)
    for line, place in zip(lines, places, strict=True):
        assert line.startswith(f"otel-netagent: {place}")


def test_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "missing.yaml"
    assert refusal(file) == [f"otel-netagent: {file}: cannot be read: No such file or directory"]


def test_endpoint_without_scheme(tmp_path: Path) -> None:
    (line,) = refusal(configuration(tmp_path), environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})
    assert line.startswith("otel-netagent: OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317: ")
    assert "write http://collector:4317 for a plain connection or https://collector:4317 for TLS" in line


_WITH_A_MISTAKE = """
from otel_netagent.cli.netagent import main
from otel_netagent.pipeline.collector import Collector
Collector.collect = lambda self: {}["nothing"]
main()
"""


def test_an_error_of_its_own_ends_it(tmp_path: Path) -> None:
    """A part that is dead must not go unnoticed: whoever watches the agent starts it anew."""
    with Program([sys.executable, "-c", _WITH_A_MISTAKE, "run", "-c", str(configuration(tmp_path))]) as program:
        assert program.wait() == 1
        (line,) = [line for line in program.err if "CRITICAL" in line]
        assert line.endswith("internal error in collector: KeyError: 'nothing' (<string>:4); exiting")


_WITH_A_MISTAKE_IN_THE_MAIN_THREAD = """
from otel_netagent.cli.netagent import main
from otel_netagent.config.watching import Watch
Watch.look = lambda self: {}["nothing"]
main()
"""


def test_an_error_of_its_own_in_the_main_thread_ends_it(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _WITH_A_MISTAKE_IN_THE_MAIN_THREAD, "run", "-c", str(configuration(tmp_path))]
    with Program(argv) as program:
        assert program.wait() == 1
        (line,) = [line for line in program.err if "CRITICAL" in line]
        assert line.endswith("internal error in the main thread: KeyError: 'nothing' (<string>:4); exiting")
