"""A change of the configuration, of made-up parts: one that is refused, wherever, leaves everything as it was."""

from __future__ import annotations

import errno
import functools
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from opentelemetry.sdk.resources import Resource

from lab.waiting import eventually
from otel_netagent.agent.receivers import LocalReceivers
from otel_netagent.agent.reload import REFUSALS, Parts, Reload
from otel_netagent.agent.senders import SenderError, Senders
from otel_netagent.agent.servers import Servers
from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.config.schema import Config, DeliveryConfig, EventConfig, MetricConfig
from otel_netagent.identity.kubernetes.watch import NoWatch
from otel_netagent.identity.naming import EntityNaming
from otel_netagent.outputs.catalogue import catalogue
from otel_netagent.outputs.http.server import ListenError
from otel_netagent.outputs.loki.address import LokiAddressError
from otel_netagent.outputs.otlp.environment import OtlpConfigError
from otel_netagent.outputs.sending import Limits
from otel_netagent.outputs.sending.sender import Sender, SenderContext, SendingOutput
from otel_netagent.outputs.stream.service import EventPortError
from otel_netagent.pipeline.probe_set import Changes
from otel_netagent.pipeline.sources import Sources
from tests.agent.running import free_port
from tests.agent.test_servers import answers_http, is_open
from tests.outputs.sending.numbers import Moody, Numbers, Steady


@dataclass
class MadeUpSources:
    """Knows who it was told to give things to, and notes each time."""

    applied: list[float] = field(default_factory=list)
    events: Sequence[Any] = ()

    def apply(self, _wanted: object, _snapshots: object, events: Sequence[Any], interval_s: float) -> Changes:
        """Give everything to these from now on."""
        self.applied.append(interval_s)
        self.events = events
        return Changes((), ())

    def happen(self, number: int) -> None:
        """Give an event to whoever gets events: a number, which is all that these senders look at."""
        for take in self.events:
            take(cast(AttributedEvent, number))


@dataclass
class MadeUpOutput:
    """Sends numbers; a sender for each interval between collections. Does not start while there is a `refusal`."""

    name: str
    transports: list[Steady] = field(default_factory=list)
    settings: tuple[str, ...] = ("metric_config.interval",)
    refusal: Exception | None = None
    absent: bool = False

    def start(self, context: SenderContext) -> Sender:
        """Send to a transport of its own."""
        if self.refusal:
            raise self.refusal
        self.transports.append(Moody() if self.absent else Steady())
        delivery = context.delivery(self.name, Numbers(), self.transports[-1], Limits(capacity=100))
        return Sender(delivery, event=cast(Any, delivery.put))

    @property
    def declared(self) -> SendingOutput:
        """Its declaration."""
        return SendingOutput(self.name, "made up", self.settings, (), (), self.name, self.start)


@dataclass
class Running:
    """Parts at work by a configuration, and what a test must know of them."""

    parts: Parts
    config: Config
    sources: MadeUpSources

    def change(self, config: Config) -> None:
        """Go over to it."""
        reload = Reload(self.parts, config)
        reload.switch()
        reload.commit()
        self.config = config

    @property
    def state(self) -> tuple[object, ...]:
        """All that a change would change."""
        ports = self.config.metric.port, self.config.event.port
        return (
            len(self.sources.applied),
            self.parts.senders.running,
            self.parts.naming.names,
            logging.getLogger("otel_netagent").level,
            answers_http(ports[0]),
            is_open(ports[1]),
        )


@pytest.fixture
def outputs() -> list[MadeUpOutput]:
    return [MadeUpOutput("first"), MadeUpOutput("second", settings=())]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(trustme.CA().cert_pem.bytes())
    return file


@pytest.fixture
def running(tmp_path: Path, outputs: list[MadeUpOutput], certificate: Path) -> Iterator[Running]:
    """With the real outputs behind the made-up ones; metrics go by OTLP to where nobody is."""
    environ = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
    }
    declared = (*(output.declared for output in outputs), *catalogue())
    senders = Senders(declared, "node", Resource({}), environ)
    servers, sources = Servers("node", lambda: "{}"), MadeUpSources()
    local = LocalReceivers("node", lambda _: None, lambda _: None, lambda: b"")
    parts = Parts({}, cast(Sources, sources), senders, servers, EntityNaming(), NoWatch(), local)
    config = Config(
        metric=MetricConfig(port=free_port()),
        event=EventConfig(port=free_port(), infotolog=False),
        delivery=DeliveryConfig(spool_directory=str(tmp_path / "spool")),
    )
    running = Running(parts, config, sources)
    running.change(config)
    yield running
    senders.close()
    servers.close()
    logging.getLogger("otel_netagent").setLevel(logging.NOTSET)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as holder:
        yield int(holder.getsockname()[1])


@pytest.fixture(params=["metrics' port", "events' port", "address", "certificate", "thread", "files"])
def refused(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    running: Running,
    outputs: list[MadeUpOutput],
    certificate: Path,
    taken_port: int,
    tmp_path: Path,
) -> tuple[Config, type[Exception], str]:
    """A configuration that says everything otherwise than the one that runs, but cannot be had: how that is said."""
    config = Config(
        debugmode=True,
        metric=MetricConfig(port=free_port(), interval=7, verbose=True),
        event=EventConfig(port=free_port(), infotolog=False),
        delivery=DeliveryConfig(spool_directory=str(tmp_path / "other"), request_kilobytes=100),
    )
    metric, event = config.metric, config.event
    match request.param:
        case "metrics' port":  # and the other server would leave its own
            metric = metric.model_copy(update={"port": taken_port})
            return config.model_copy(update={"metric": metric}), ListenError, f"port {taken_port} is in use"
        case "events' port":
            metric = metric.model_copy(update={"port": running.config.event.port})
            event = event.model_copy(update={"port": taken_port})
            return config.model_copy(update={"metric": metric, "event": event}), EventPortError, "cannot listen"
        case "address":
            event = event.model_copy(update={"loki_enable": True})
            return config.model_copy(update={"event": event}), LokiAddressError, "the agent does not run in a pod"
        case "certificate":
            certificate.unlink()
            return config, OtlpConfigError, "OTEL_EXPORTER_OTLP_CERTIFICATE"
        case "thread":
            outputs[1].refusal = RuntimeError("can't start new thread")
            return config, SenderError, r"second cannot be started: can't start new thread; .*TasksMax="
        case _:
            outputs[1].refusal = OSError(errno.EMFILE, "Too many open files")
            return config, OSError, "Too many open files"


def test_what_is_refused_changes_nothing_and_leaves_nothing(
    running: Running,
    refused: tuple[Config, type[Exception], str],
    outputs: list[MadeUpOutput],
    taken_port: int,
    tmp_path: Path,
) -> None:
    config, kind, text = refused
    held, before = _held(), running.state
    with pytest.raises(kind, match=text) as refusal:
        Reload(running.parts, config)
    assert isinstance(refusal.value, (*REFUSALS, OSError))
    assert "\n" not in str(refusal.value)
    assert running.state == before
    of_others = {taken_port, running.config.event.port}
    assert not any(map(is_open, {config.metric.port, config.event.port} - of_others))
    eventually(lambda: _held() == held)
    assert not (tmp_path / "other").exists()
    running.sources.happen(1)
    eventually(lambda: [output.transports[0].accepted for output in outputs] == [[1], [1]])


def test_what_was_refused_is_had_once_it_can_be(running: Running, outputs: list[MadeUpOutput]) -> None:
    config = Config(
        metric=MetricConfig(port=free_port(), interval=7), event=EventConfig(port=running.config.metric.port)
    )
    outputs[1].refusal = OSError(errno.ENOENT, "No such file or directory", "/tls.crt")
    with pytest.raises(SenderError, match=r"second cannot be started: .*/tls\.crt"):
        running.change(config)
    outputs[1].refusal = None
    running.change(config)
    assert answers_http(config.metric.port)
    assert is_open(config.event.port)
    assert not answers_http(config.event.port)
    running.sources.happen(1)
    eventually(lambda: [output.transports[-1].accepted for output in outputs] == [[1], [1]])
    assert outputs[0].transports[0].accepted == []


def test_what_comes_while_senders_are_exchanged_is_sent_behind_what_was_left(
    running: Running, outputs: list[MadeUpOutput]
) -> None:
    outputs[0].absent = True
    running.change(_collecting_every(running.config, 7))
    running.sources.happen(1)
    (before,) = (each.delivery for each in running.parts.senders.running if each.delivery.name == "first")
    eventually(lambda: before.statistics.spool_bytes)
    outputs[0].absent = False
    reload = Reload(running.parts, _collecting_every(running.config, 8))
    reload.switch()
    running.sources.happen(2)
    assert outputs[0].transports[-1].accepted == []
    assert running.sources.applied[-1] == 8
    reload.commit()
    running.sources.happen(3)
    eventually(lambda: outputs[0].transports[-1].accepted == [1, 2, 3])
    eventually(lambda: running.parts.senders.delivery_totals.read()["second"].delivered == 3)


def test_a_sender_whose_settings_stay_is_not_disturbed(running: Running, outputs: list[MadeUpOutput]) -> None:
    before = running.parts.senders.running
    event = running.config.event.model_copy(update={"loki_address": "loki", "events_per_second": 5})
    delivery = running.config.delivery.model_copy(update={"flush_seconds": 2.0})
    running.change(running.config.model_copy(update={"event": event, "delivery": delivery}))
    assert running.parts.senders.running == before
    assert [len(output.transports) for output in outputs] == [1, 1]


def test_counts_go_on_where_one_sender_stays_and_one_is_exchanged(
    running: Running, outputs: list[MadeUpOutput]
) -> None:
    def have_delivered(count: int) -> bool:
        delivery_totals = running.parts.senders.delivery_totals.read()
        return all(delivery_totals[name].delivered == count for name in ("first", "second"))

    for number in range(1, 4):
        running.change(_collecting_every(running.config, 10 + number))
        running.sources.happen(number)
        eventually(functools.partial(have_delivered, number))
    assert [len(output.transports) for output in outputs] == [4, 1]


def _collecting_every(config: Config, interval_s: float) -> Config:
    return config.model_copy(update={"metric": config.metric.model_copy(update={"interval": interval_s})})


def _held() -> tuple[int, int]:
    """How many threads this process has, and how many open files."""
    return threading.active_count(), len([*Path("/proc/self/fd").iterdir()])
