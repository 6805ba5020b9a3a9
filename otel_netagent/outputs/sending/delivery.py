"""Delivery: from items to requests that the receiver has accepted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from otel_netagent.backoff import Backoff
from otel_netagent.outputs.sending.outage_log import OutageLog
from otel_netagent.outputs.sending.outbox import Outbox
from otel_netagent.outputs.sending.outcome import Accepted, Outcome, Refused, Retryable, TooLarge, Transport
from otel_netagent.outputs.sending.queue import ItemQueue, Limits
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, Encoder
from otel_netagent.outputs.sending.request_size import RequestSize
from otel_netagent.outputs.sending.splitting import Splitting
from otel_netagent.outputs.sending.spool import SpoolPlace, open_spool
from otel_netagent.outputs.sending.statistics import Cause, DeliveryCounters, DeliveryStatistics

ItemT = TypeVar("ItemT")


class Delivery(Generic[ItemT]):
    """Sends the items of one signal in two threads: one packs items into requests, one sends the requests.

    A request that the receiver cannot accept now is retried until it is accepted or rejected for good; what comes
    meanwhile is kept behind it. What is dropped is counted. Delivery is at least once: a request whose answer is lost
    is sent again, and so is one that was split when the agent ends halfway.

    One that is `held` takes items and keeps them in memory, but sends nothing and leaves the spool alone until `begin`:
    another delivery still uses both.
    """

    def __init__(  # noqa: PLR0913 - what a delivery is made of
        self,
        name: str,
        encoder: Encoder[ItemT],
        transport: Transport,
        limits: Limits,
        *,
        backoff: Backoff | None = None,
        spool: SpoolPlace | None = None,
        held: bool = False,
    ) -> None:
        """Start sending, first what the spool has kept; log lines and threads bear the `name` ("OTLP metrics").

        Raises RuntimeError where no thread can be started; then nothing is left of it.
        """
        self.name = name
        self._encoder = encoder
        self._transport = transport
        self._backoff = backoff or Backoff()
        self._request_size = RequestSize(limits.request_bytes)
        self._patience_s = limits.patience_s
        self._outage_log = OutageLog(name, transport.target)
        self._counters = DeliveryCounters()
        self._queue: ItemQueue[ItemT] = ItemQueue(limits)
        self._spool = spool
        self._outbox = Outbox(limits.memory_bytes, self._drop)
        self._packing = threading.Lock()
        self._begun = threading.Event()
        self._stopping = threading.Event()
        self._packer = threading.Thread(target=self._pack, name=f"{name}, packing", daemon=True)
        self._sender = threading.Thread(target=self._send, name=name, daemon=True)
        with contextlib.ExitStack() as started:
            started.callback(self.stop)
            self._packer.start()
            self._sender.start()
            started.pop_all()
        if not held:
            self.begin()

    def __str__(self) -> str:
        """What is sent, and where to."""
        return f"{self.name} to {self.target}"

    @property
    def target(self) -> str:
        """The receiver, as a log line names it."""
        return self._transport.target

    def begin(self) -> None:
        """Send from now on: first what the spool has, then what was handed over until now. It cannot fail."""
        if self._spool and (spool := open_spool(self._spool, self._drop_damaged)):
            self._outbox.use(spool)
        self._begun.set()

    def put(self, item: ItemT) -> None:
        """Queue an item. Never waits for the receiver, but helps to pack when the packing thread is behind."""
        if not self._queue.put(item):
            self._counters.dropped(Cause.SHUTDOWN, {self._encoder.pod(item): self._encoder.count(item)})
        elif self._queue.full:
            self._pack_batch()

    @property
    def statistics(self) -> DeliveryStatistics:
        """The current statistics."""
        with self._packing:  # a batch that is being packed is in neither
            queued = sum(map(self._encoder.count, self._queue.items())) + self._outbox.queued
        return self._counters.statistics(queued, self._outbox.spool_bytes)

    def stop(self) -> None:
        """Take nothing more and send what is left at once; does not wait."""
        self._begun.set()
        self._stopping.set()
        self._queue.close()

    def join(self, deadline: float) -> None:
        """After `stop`: wait until all is sent, or until `deadline` (monotonic time); then spool or drop the rest."""
        for thread in (self._packer, self._sender):
            thread.join(max(0.0, deadline - time.monotonic()))
        while self._queue.items():  # what could not be packed in time is kept with the rest
            self._pack_batch()
        with self._packing:
            self._outbox.close()
        self._transport.close()
        statistics = self.statistics
        self._outage_log.end(statistics.dropped[Cause.SHUTDOWN], statistics.spool_bytes)

    def _pack(self) -> None:
        while self._queue.wait():
            self._pack_batch()
        self._outbox.end()

    def _pack_batch(self) -> None:
        with self._packing:  # one batch at a time, to keep their order
            if batch := self._queue.take():
                for request in self._encoder.encode(batch):
                    self._outbox.add(request)

    def _send(self) -> None:
        self._begun.wait()
        while (request := self._outbox.take()) and self._deliver(request):
            pass

    def _deliver(self, request: EncodedRequest) -> bool:
        """Send until the outcome of the request is known; False if there was no time for that."""
        parts = Splitting(request, self._encoder.halves, self._request_size, self._patience_s)
        for part in parts:
            if isinstance(self._try(part, parts), Retryable):
                return False
        # Only now, when all outcomes are known: a request that is interrupted is kept, or dropped, as a whole.
        if self._outbox.settle():
            for part, outcome in parts.outcomes:
                self._settle(part, outcome)
        return True

    def _try(self, part: EncodedRequest, parts: Splitting) -> Outcome:
        """Send until the receiver accepts or rejects the part; Retryable only if there is no time left."""
        for pause in self._backoff.pauses():
            answer = self._transport.send(part.body)
            if self._outbox.closed:  # too late: the request in hand has been spooled or dropped
                return Retryable("the delivery was closed")
            if not isinstance(answer, Accepted):
                self._counters.failed()
            outcome = parts.judge(part, answer)
            self._outage_log.note(outcome, len(part.body))
            if not isinstance(outcome, Retryable):
                return outcome
            self._outbox.keep()
            if self._stopping.is_set():
                return outcome
            self._stopping.wait(self._backoff.wait_s(pause, outcome.delay_s))
        raise AssertionError("pauses never end")

    def _settle(self, part: EncodedRequest, outcome: Outcome) -> None:
        match outcome:
            case Accepted(rejected=rejected):
                rejected = min(rejected, part.count)
                self._counters.delivered(part.count - rejected)
                if rejected:
                    self._drop_part(part, rejected)
            case TooLarge(reason=reason):
                self._drop(Cause.TOO_LARGE, part, reason)
            case Refused(reason=reason):
                self._drop(Cause.PERMANENT, part, reason)

    def _drop_part(self, request: EncodedRequest, rejected: int) -> None:
        """Count the rejected items; their pods are known if all were rejected, or if all are of one pod."""
        contents = self._encoder.contents(request)
        if rejected < request.count:
            contents = {next(iter(contents)) if len(contents) == 1 else NO_POD: rejected}
        self._counters.dropped(Cause.REJECTED, contents)

    def _drop(self, cause: Cause, request: EncodedRequest, reason: str = "") -> None:
        self._counters.dropped(cause, self._encoder.contents(request))
        self._outage_log.dropped(cause, request.count, reason)

    def _drop_damaged(self, count: int) -> None:
        self._counters.dropped(Cause.DAMAGED, {NO_POD: count})


def close_all(deliveries: Sequence[Delivery[Any]], within_s: float = 1.0) -> None:
    """Flush and close all deliveries at the same time, within `within_s` seconds, whatever their receivers do."""
    deadline = time.monotonic() + within_s
    for delivery in deliveries:
        delivery.stop()
    for delivery in deliveries:
        delivery.join(deadline)
