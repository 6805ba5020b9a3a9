"""What sends to one receiver, and how an output that does is declared and started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from opentelemetry.sdk.resources import Resource

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.outputs.declaration import Loss, Output, Settings
from otel_netagent.outputs.sending.delivery import Delivery
from otel_netagent.outputs.sending.outcome import Transport
from otel_netagent.outputs.sending.queue import Limits
from otel_netagent.outputs.sending.request import Encoder
from otel_netagent.outputs.sending.spool import SpoolPlace

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Sender:
    """A delivery, and what hands the snapshots or the events over to it."""

    delivery: Delivery[Any]
    snapshot: Callable[[Snapshot], None] | None = None
    event: Callable[[AttributedEvent], None] | None = None


@dataclass(frozen=True, slots=True)
class SenderContext:
    """What a sender is started with. `settings` are those keys of the configuration file that its output declares."""

    node: str
    resource: Resource
    environ: Mapping[str, str]
    settings: Settings
    request_bytes: int
    spool: SpoolPlace | None

    def delivery(self, name: str, encoder: Encoder[ItemT], transport: Transport, limits: Limits) -> Delivery[ItemT]:
        """A delivery that is held. Raises RuntimeError where no thread can be started; the transport is closed then."""
        limits = replace(limits, request_bytes=self.request_bytes)
        with contextlib.ExitStack() as opened:
            opened.callback(transport.close)
            delivery = Delivery(name, encoder, transport, limits, spool=self.spool, held=True)
            opened.pop_all()
        return delivery


@dataclass(frozen=True, slots=True)
class SendingOutput(Output):
    """One that sends; it reads the section `delivery` too.

    `start` gives a sender whose delivery is held, or None where nothing is to be sent. It raises what refuses a
    configuration (an error whose text is one line), OSError for files that cannot be read, or RuntimeError where no
    thread can be started; nothing is left of it then. `spool` is the name of its directory.
    """

    spool: str
    start: Callable[[SenderContext], Sender | None]


def dropped_by(name: str) -> tuple[Loss]:
    """Where a delivery of this name counts what it dropped."""
    return (Loss("netagent.delivery.dropped", {"delivery": name}),)


EVENT_LIMITS = Limits(capacity=8_192, batch=512, linger_s=1.0)
"""Small batches, since whoever reads events has to wait for Python's lock while one is packed."""
