"""A configuration that changes while the agent runs: obeyed at once, noticed by nobody whom it does not concern."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from lab.standstills import connected
from lab.truth import Family
from otel_netagent.model.probe_status import ProbeState
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import NETAGENT, Program
from tests.agent.exposition import Exposition
from tests.agent.kernel_objects import held_by
from tests.agent.running import Agent, Told, free_port
from tests.agent.stage import Stage, await_known, named_pair
from tests.agent.watching import watching
from tests.config.test_watching import ConfigMap
from tests.outputs.otlp.receivers import Receiver, grpc_receiver, hang
from tests.probes.test_socketlatency import stop_reading

_LOADED = "configuration reloaded: "
_REFUSED = "is refused: the agent goes on with the configuration that it has"


@dataclass
class Reloaded:
    """An agent, and its file, which each `change` replaces as kubelet does."""

    agent: Agent
    config_map: ConfigMap
    sections: dict[str, dict[str, Any]]
    said: list[str] = field(default_factory=list)

    def change(self, *, debugmode: bool = False, **sections: Mapping[str, Any]) -> str:
        """Change these settings and no others; what the agent says of it."""
        for name, settings in sections.items():
            self.sections[name] |= settings
        lines = self.write(json.dumps(self.sections | {"debugmode": debugmode}, indent=1), _LOADED)
        http = int(self.sections["metric_config"]["port"])
        self.agent.http = http
        return next(line for line in reversed(lines) if _LOADED in line).partition(_LOADED)[2]

    def write(self, text: str, until: str) -> list[str]:
        """Replace the file, and wait for a line; what the agent says meanwhile."""
        before = len(self.agent.err)
        self.config_map.swap(text)
        return self.answer(before, until)

    def answer(self, before: int, until: str) -> list[str]:
        """Lines about the configuration, once this one is among them; not those of events."""

        def lines() -> list[str]:
            return [line for line in self.agent.err[before:] if "type=" not in line]

        self.agent.eventually(lambda: [line for line in lines() if until in line])
        return lines()

    def states(self) -> dict[str, ProbeState]:
        """What has become of the probes that are wanted."""
        return {name: each.state for name, each in self.agent.probes().items() if each.state is not ProbeState.OFF}


class _MountedAgent(Agent):
    """Its file is in the mount of a ConfigMap."""

    def __init__(
        self, config_map: ConfigMap, sections: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
    ) -> None:
        self.http, self.grpc = (int(sections[name]["port"]) for name in ("metric_config", "event_config"))
        Program.__init__(self, [NETAGENT, "run", "-c", str(config_map.file)], environ)


@contextlib.contextmanager
def _reloaded(tmp_path: Path, environ: Mapping[str, str], **delivery: object) -> Iterator[Reloaded]:
    """With three probes, one of which has events."""
    sections: dict[str, dict[str, Any]] = {
        "metric_config": {"port": free_port(), "interval": 1, "probes": ["tcp", "packetloss", "tcpsummary"]},
        "event_config": {"port": free_port(), "probes": ["packetloss"], "events_per_second": 10_000},
        "delivery": {"spool_directory": ""} | delivery,
    }
    (tmp_path / "mount").mkdir()
    config_map = ConfigMap(tmp_path / "mount", json.dumps(sections))
    with _MountedAgent(config_map, sections, environ) as agent:
        yield Reloaded(agent, config_map, sections)
        assert agent.stop() == 0


@pytest.fixture
def reloaded(tmp_path: Path) -> Iterator[Reloaded]:
    with _reloaded(tmp_path, {}) as reloaded:
        yield reloaded


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as holder:
        yield int(holder.getsockname()[1])


# --- Probes


def test_probes_start_and_stop_and_every_swap_is_seen(reloaded: Reloaded) -> None:
    running = {"tcp", "packetloss", "tcpsummary"}
    for probes in (["udp"], ["udp", "tcp"], ["netdev", "tcp"], ["tcp"]):
        said = reloaded.change(metric_config={"probes": probes})
        assert said.startswith("metric_config.probes [")
        wanted = {*probes, "packetloss"}
        assert (f"probes started: {', '.join(sorted(wanted - running))}" in said) == bool(wanted - running)
        assert (f"probes stopped: {', '.join(sorted(running - wanted))}" in said) == bool(running - wanted)
        assert reloaded.states() == dict.fromkeys(sorted(wanted), ProbeState.RUNNING)
        running = wanted
        # The first collection by the new configuration has come before, or comes now.
        names = {name for name, _ in reloaded.agent.next_collection().values}
        assert ("inspector_pod_udpindatagrams" in names) == ("udp" in probes)
        assert ("inspector_pod_tcppassiveopens" in names) == ("tcp" in probes)


def test_a_probe_that_stops_leaves_nothing_in_the_kernel(reloaded: Reloaded) -> None:
    before = held_by(reloaded.agent.pid)
    reloaded.change(metric_config={"probes": ["tcp", "packetloss"]}, event_config={"probes": ["tcpreset"]})
    reloaded.change(metric_config={"probes": ["tcp"]}, event_config={"enable": False})
    with_walk_alone = held_by(reloaded.agent.pid)
    assert with_walk_alone < before
    reloaded.change(
        metric_config={"probes": ["tcp", "packetloss", "tcpsummary"]},
        event_config={"enable": True, "probes": ["packetloss"]},
    )
    assert len(held_by(reloaded.agent.pid)) == len(before)


def test_nothing_is_lost_or_counted_anew_of_a_probe_that_stays(reloaded: Reloaded) -> None:
    """Datagrams for a closed port, before, while and after all else changes: each is told and counted once."""
    agent, sent, counted = reloaded.agent, 0, list[int]()

    def send(times: int) -> int:
        closed_udp_port(stage, Family.IPV4, times)
        return sent + times

    def await_told(times: int) -> None:
        agent.eventually(lambda: len(agent.told(stage.server)) >= times)

    with named_pair() as stage, watching(agent) as watcher:
        await_known(agent, stage)
        changes: list[dict[str, dict[str, Any]]] = [
            {"metric_config": {"probes": ["tcp", "packetloss"]}},
            {"metric_config": {"probes": ["udp", "packetloss", "fd", "io"], "interval": 2}},
            {"event_config": {"probes": ["packetloss", "tcpreset"]}},
            {"metric_config": {"aliases": False}},
            {"metric_config": {"interval": 1}},
            {"event_config": {"probes": ["packetloss"]}},
        ]
        for change in changes:
            sent = send(5)
            before = len(agent.err)
            for name, settings in change.items():
                reloaded.sections[name] |= settings
            reloaded.config_map.swap(json.dumps(reloaded.sections))
            while not [line for line in agent.err[before:] if _LOADED in line]:
                assert agent.process.poll() is None
                sent = send(1)
                await_told(sent - 50)
            sent = send(5)
            counted.append(_without_socket(agent.next_collection(), stage.server))
        await_told(sent)
        agent.eventually(lambda: len(watcher.events([stage.server])) >= sent)
        assert counted == sorted(counted)
        assert counted[-1] == sent
        assert [told.type for told in agent.told(stage.server) if not told.is_routine] == ["PACKETLOSS"] * sent
        assert len(watcher.events([stage.server])) == sent


def test_another_limit_holds_from_now_on_and_no_counter_goes_back(reloaded: Reloaded) -> None:
    agent = reloaded.agent
    with named_pair() as stage:
        await_known(agent, stage)
        closed_udp_port(stage, Family.IPV4, 30)
        assert _without_socket(agent.next_collection(), stage.server) == 30
        said = reloaded.change(event_config={"events_per_second": 2})
        assert said == "event_config.events_per_second 10000 -> 2"
        closed_udp_port(stage, Family.IPV4, 50)
        collected = agent.next_collection()
    assert _without_socket(collected, stage.server) == 80
    agent.eventually(lambda: _faults_told(agent, stage.server) >= 32)
    assert _faults_told(agent, stage.server) <= 36, "two a second, and the sending may cross into the next ones"
    assert _outcomes(collected, stage.server)["suppressed"] >= 80 - 36


def test_events_may_be_switched_off_and_on_while_their_probe_counts(reloaded: Reloaded) -> None:
    agent = reloaded.agent
    with named_pair() as stage:
        await_known(agent, stage)
        told = 0
        for times, enabled in enumerate((True, False, True, False), start=1):
            if times > 1:
                said = reloaded.change(event_config={"enable": enabled})
                assert said == f"event_config.enable {json.dumps(not enabled)} -> {json.dumps(enabled)}"
            closed_udp_port(stage, Family.IPV4, 5)
            told += 5 if enabled else 0
            collected = agent.next_collection()
            assert _without_socket(collected, stage.server) == 5 * times
            outcomes = _outcomes(collected, stage.server)
            assert (outcomes["suppressed"], outcomes["lost"]) == (0, 0)
            agent.eventually(functools.partial(_has_told, agent, stage.server, told))


def test_another_threshold_holds_from_now_on_and_no_counter_goes_back(reloaded: Reloaded) -> None:
    """Data wait for their reader longer than 100 ms, which is counted in any case."""
    agent = reloaded.agent
    reloaded.change(event_config={"probes": ["socketlatency"], "thresholds": {"SOCKETLAT_READSLOW": 60_000}})
    with named_pair() as stage:
        await_known(agent, stage)
        with connected(stage.pair, Family.IPV4) as (caller, reader, _):
            stop_reading(caller, reader, 150)
            assert _slow_readings(agent.next_collection(), stage.server) == 1
            said = reloaded.change(event_config={"thresholds": {"SOCKETLAT_READSLOW": 50}})
            assert said == "event_config.thresholds {SOCKETLAT_READSLOW: 60000} -> {SOCKETLAT_READSLOW: 50}"
            stop_reading(caller, reader, 150)
        assert _slow_readings(agent.next_collection(), stage.server) == 2
        agent.eventually(lambda: agent.told(stage.server))
    assert [told.type for told in agent.told(stage.server)] == ["SOCKETLAT_READSLOW"]


def test_a_probe_that_there_is_not_is_told_and_stops_nothing(reloaded: Reloaded) -> None:
    agent, file = reloaded.agent, reloaded.config_map.file
    before = len(agent.err)
    said = reloaded.change(metric_config={"probes": ["tcp", "tcpsumary"]}, event_config={"probes": ["tcp"]})
    assert said.endswith("; probes stopped: packetloss, tcpsummary")
    warnings = [line.partition(" WARNING ")[2] for line in agent.err[before:] if " WARNING " in line]
    assert len(warnings) == 2
    assert re.fullmatch(
        rf"{file}:\d+: metric_config\.probes\[1\]: tcpsumary is not a probe with metrics; did you mean tcpsummary\? "
        r"allowed here: .*, tcpsummary, .*",
        warnings[0],
    )
    assert re.fullmatch(
        rf"{file}:\d+: event_config\.probes\[0\]: tcp is not a probe with events; .*allowed here: .*tcpreset.*",
        warnings[1],
    )
    assert reloaded.states() == {"tcp": ProbeState.RUNNING, "tcpsumary": ProbeState.UNAVAILABLE}
    (row,) = [line for line in agent.inspect("list", "probe", port=agent.http).splitlines() if "tcpsumary" in line]
    assert " ".join(row.split()) == "tcpsumary unavailable - - no such probe; did you mean tcpsummary?"
    reloaded.change(metric_config={"probes": ["tcp"]})
    assert reloaded.states() == {"tcp": ProbeState.RUNNING}


def _outcomes(collected: Exposition, pod: str) -> dict[str, float]:
    """What became of the events of a pod."""
    return {name.rpartition(",")[2]: value for name, value in collected.of(pod, "type", "outcome").items()}


def _faults_told(agent: Agent, pod: str) -> int:
    """Events of a pod so far."""
    return sum(not told.is_routine for told in agent.told(pod))


def _has_told(agent: Agent, pod: str, times: int) -> bool:
    """Whether there were so many, and no more."""
    assert _faults_told(agent, pod) <= times
    return _faults_told(agent, pod) == times


def _slow_readings(collected: Exposition, pod: str) -> float:
    """Readings that data waited for longer than 100 ms."""
    return collected.of(pod)["inspector_pod_socketlatencyread100ms"]


def _without_socket(collected: Exposition, pod: str) -> int:
    """Packets that no socket wanted."""
    drops = collected.of(pod, "location", "reason")
    return sum(int(count) for name, count in drops.items() if name.endswith(",NO_SOCKET"))


# --- Outputs


def test_ports_move_and_a_taken_one_is_refused(reloaded: Reloaded, taken_port: int) -> None:
    old = reloaded.agent.http
    reloaded.change(metric_config={"port": free_port()})
    assert reloaded.agent.http != old
    reloaded.agent.eventually(lambda: reloaded.agent.get("/metrics")[0] is HTTPStatus.OK)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", old)) != 0

    taken = reloaded.sections | {"metric_config": reloaded.sections["metric_config"] | {"port": taken_port}}
    lines = reloaded.write(json.dumps(taken), _REFUSED)
    assert f"ERROR port {taken_port} is in use" in lines[0]
    assert lines[1].endswith(f"{reloaded.config_map.file} {_REFUSED}")
    assert reloaded.agent.get("/metrics")[0] is HTTPStatus.OK


def test_switches(reloaded: Reloaded) -> None:
    agent = reloaded.agent
    said = reloaded.change(metric_config={"enable": False})
    assert said == "metric_config.enable true -> false; probes stopped: tcp, tcpsummary"
    assert agent.get("/metrics")[0] is HTTPStatus.NOT_FOUND
    reloaded.change(event_config={"enable": False})
    assert reloaded.states() == {}
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", agent.grpc)) != 0
    reloaded.change(metric_config={"enable": True}, event_config={"enable": True})
    assert set(reloaded.states()) == {"tcp", "packetloss", "tcpsummary"}
    agent.eventually(lambda: agent.get("/metrics")[0] is HTTPStatus.OK)
    with watching(agent):
        pass


def test_the_text_of_metrics(reloaded: Reloaded) -> None:
    def text() -> str:
        return reloaded.agent.get("/metrics")[1].decode()

    assert "\ninspector_pod_tcppassiveopenes{" in text()
    reloaded.change(metric_config={"aliases": False, "timestamps": False})
    reloaded.agent.eventually(lambda: "inspector_pod_tcppassiveopenes" not in text())
    assert "\ninspector_pod_tcppassiveopens{" in text()
    samples = [line for line in text().splitlines() if not line.startswith("#")]
    assert {len(line.rpartition("} ")[2].split(" ")) for line in samples} == {1}


@contextlib.contextmanager
def _occurring(stage: Stage) -> Iterator[list[Told]]:
    """Datagrams for a closed port, one after another for the time of the block; what must be told of them so far."""
    caused: list[Told] = []
    ending = threading.Event()

    def cause() -> None:
        while not ending.wait(0.002):
            caused.extend(closed_udp_port(stage, Family.IPV4))

    with ThreadPoolExecutor(1) as thread:
        causing = thread.submit(cause)
        try:
            yield caused
        finally:
            ending.set()
        causing.result()


def test_no_event_is_lost_when_it_is_sent_by_other_settings(tmp_path: Path) -> None:
    """They go on all the while. The old sender ends late: an answer that it waits for does not come."""
    with grpc_receiver(hang) as receiver:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600000",
        }
        with _reloaded(tmp_path, environ, flush_seconds=3) as reloaded, named_pair() as stage:
            await_known(reloaded.agent, stage)
            reloaded.agent.eventually(lambda: receiver.received)
            with _occurring(stage) as caused:
                for spool in ("a", "b", "b/c"):
                    said = reloaded.change(delivery={"spool_directory": str(tmp_path / spool)})
                    assert said.startswith("delivery.spool_directory ")
            reloaded.agent.eventually(lambda: len(reloaded.agent.told(stage.server)) >= len(caused))
            told = sorted(each.body for each in reloaded.agent.told(stage.server))
            assert reloaded.agent.stop() == 0
            assert told == sorted(each.body for each in caused)
            assert sorted(_bodies(receiver, stage.server)) == told


def _bodies(receiver: Receiver, pod: str) -> list[str]:
    """Of the log records of a pod, what its event's line has after pod and namespace, without the stack."""
    requests = [each.request for each in receiver.received if isinstance(each.request, ExportLogsServiceRequest)]
    records = (
        record
        for request in requests
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    )
    events = (Told.of(record.body.string_value) for record in records)
    return [event.body for event in events if event and event.pod == pod]


def test_metrics_that_are_switched_off_are_not_sent_either(tmp_path: Path) -> None:
    with grpc_receiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
        with _reloaded(tmp_path, endpoint) as reloaded, named_pair() as stage:
            await_known(reloaded.agent, stage)
            reloaded.agent.eventually(lambda: _with_metrics(receiver))
            reloaded.change(metric_config={"enable": False})
            closed_udp_port(stage, Family.IPV4, 10)
            reloaded.agent.eventually(lambda: len(_bodies(receiver, stage.server)) >= 10)
            before = _with_metrics(receiver)
            time.sleep(2.5)  # two intervals, in which nothing must come
            assert _with_metrics(receiver) == before


def _with_metrics(receiver: Receiver) -> int:
    """Requests that brought metrics of pods."""
    return sum(b"inspector_pod_" in each.body for each in receiver.received)


def test_settings_of_sending_are_refused_while_its_certificates_are_gone(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_bytes(trustme.CA().cert_pem.bytes())
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:9", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate)}
    with _reloaded(tmp_path, environ) as reloaded:
        certificate.rename(tmp_path / "away")
        wanted = reloaded.sections | {"delivery": reloaded.sections["delivery"] | {"request_kilobytes": 2000}}
        refused = reloaded.write(json.dumps(wanted), _REFUSED)
        assert any("OTEL_EXPORTER_OTLP_CERTIFICATE" in line for line in refused)
        (tmp_path / "away").rename(certificate)
        assert reloaded.change(delivery={"request_kilobytes": 3000}).startswith("delivery.request_kilobytes ")


def test_debugmode(reloaded: Reloaded) -> None:
    agent = reloaded.agent
    assert agent.get("/debug/stacks")[0] is HTTPStatus.NOT_FOUND
    assert reloaded.change(debugmode=True) == "debugmode false -> true"
    status, stacks = agent.get("/debug/stacks")
    assert status is HTTPStatus.OK
    assert {"MainThread", "collector", "events"} <= {line.partition(",")[0] for line in stacks.decode().splitlines()}
    assert b"collector;threading.Thread._bootstrap;" in agent.get("/debug/profile?seconds=1")[1]
    reloaded.change()
    assert agent.get("/debug/stacks")[0] is HTTPStatus.NOT_FOUND


# --- The file


def test_a_bad_file_is_refused_and_a_good_one_after_it_is_not(reloaded: Reloaded) -> None:
    file = reloaded.config_map.file
    before = reloaded.states()
    for text, said in (
        ("metric_config:\n  interval: 0\n", f"{file}:2: metric_config.interval: 0 is not a number of seconds"),
        ("metric_config:\n  probes:\n  - 3\n", f"{file}:3: metric_config.probes[0]: 3 is not the name of a probe"),
        ("metric_config: [", f"{file}:1: not valid YAML"),
    ):
        lines = reloaded.write(text, _REFUSED)
        assert [line.partition(" ERROR ")[2][: len(said)] for line in lines[:-1]] == [said]
        assert reloaded.states() == before
    said = reloaded.change(metric_config={"interval": 2})
    assert said == "metric_config.interval 1 -> 2"


def test_a_signal_loads_it_at_once_and_says_that_nothing_changed(reloaded: Reloaded) -> None:
    before = len(reloaded.agent.err)
    reloaded.agent.process.send_signal(signal.SIGHUP)
    (line,) = reloaded.answer(before, _LOADED)
    assert line.endswith(f"{_LOADED}no setting has changed")


def test_a_file_that_is_gone_is_said_and_changes_nothing(reloaded: Reloaded) -> None:
    before = len(reloaded.agent.err)
    reloaded.config_map.file.unlink()
    lines = reloaded.answer(before, _REFUSED)
    assert lines[0].endswith(f" ERROR {reloaded.config_map.file}: cannot be read: No such file or directory")
    assert set(reloaded.states()) == {"tcp", "packetloss", "tcpsummary"}
