"""The senders of the configuration in use, and their replacement by those of another."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from opentelemetry.sdk.resources import Resource

from otel_netagent.agent.prepared import Prepared
from otel_netagent.config.schema import Config, DeliveryConfig, settings_of
from otel_netagent.open_files import raise_shortage
from otel_netagent.outputs.declaration import Output
from otel_netagent.outputs.self_telemetry.agent_state import DeliveryTotals
from otel_netagent.outputs.sending import SpoolPlace, close_all
from otel_netagent.outputs.sending.sender import Sender, SenderContext, SendingOutput


class SenderError(Exception):
    """A sender cannot be started; the message is one line that says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Started:
    """What an output was started with, and its sender: None where nothing is to be sent."""

    context: SenderContext
    sender: Sender | None


_ByOutput: TypeAlias = Mapping[str, _Started]


class Senders:
    """The senders that the outputs declare. One whose settings stay the same goes on as it is."""

    def __init__(self, outputs: Iterable[Output], node: str, resource: Resource, environ: Mapping[str, str]) -> None:
        """Nothing is sent before a preparation is committed. `delivery_totals` has what was sent until now."""
        self.delivery_totals = DeliveryTotals()
        self._outputs = tuple(output for output in outputs if isinstance(output, SendingOutput))
        self._node = node
        self._resource = resource
        self._environ = environ
        self._started: _ByOutput = {}
        self._flush_s = 0.0

    @property
    def running(self) -> tuple[Sender, ...]:
        """Those that send now."""
        return _senders(self._started)

    def prepare(self, config: Config) -> Prepared[tuple[Sender, ...]]:
        """The senders of another configuration: they accept what comes, but hold it until the running ones have ended.

        Raises SenderError, OtlpConfigError or LokiAddressError, or OSError where file descriptors run out.
        """
        wanted: dict[str, _Started] = {}
        with contextlib.ExitStack() as held:
            for output in self._outputs:
                context, before = self._context(output, config), self._started.get(output.name)
                if before is None or before.context != context:
                    before = _Started(context, _start(output, context, held))
                wanted[output.name] = before
            commit = functools.partial(self._commit, wanted, config.delivery.flush_seconds)
            return Prepared(_senders(wanted), commit, held.pop_all().close)

    def close(self) -> None:
        """Send what is left, within the seconds that the configuration allows, and end."""
        self._commit({}, self._flush_s)

    def _commit(self, wanted: _ByOutput, flush_s: float) -> None:
        """Two that send cannot use one spool: the old ones end first."""
        before, after = self.running, _senders(wanted)
        close_all([sender.delivery for sender in before if sender not in after], self._flush_s)
        for sender in after:
            if sender not in before:
                sender.delivery.begin()
        self.delivery_totals.follow([sender.delivery for sender in after])
        self._started, self._flush_s = wanted, flush_s

    def _context(self, output: SendingOutput, config: Config) -> SenderContext:
        settings, delivery = settings_of(config), config.delivery
        return SenderContext(
            node=self._node,
            resource=self._resource,
            environ=self._environ,
            settings={key: settings[key] for key in output.settings},
            request_bytes=delivery.request_kilobytes << 10,
            spool=_spool(delivery, output.spool),
        )


def _start(output: SendingOutput, context: SenderContext, held: contextlib.ExitStack) -> Sender | None:
    """Start it, to be ended with `held`."""
    try:
        sender = output.start(context)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError):
            raise_shortage(error)
        raise SenderError(
            f"{output.name} cannot be started: {error}; its certificates must be readable, and the limit of threads "
            "(TasksMax= of systemd, pids.max of the cgroup) not reached"
        ) from error
    if sender is not None:
        held.callback(close_all, [sender.delivery])
    return sender


def _senders(started: _ByOutput) -> tuple[Sender, ...]:
    return tuple(each.sender for each in started.values() if each.sender is not None)


def _spool(config: DeliveryConfig, name: str) -> SpoolPlace | None:
    """A directory and a limit for each sender, so that the many metrics of an outage do not displace its events."""
    if not config.spool_directory:
        return None
    return SpoolPlace(Path(config.spool_directory) / name, config.spool_megabytes << 20)
