"""Delivery: shared by all outputs that send. What is handed over arrives, waits on disk, or is counted as let go."""

from otel_netagent.backoff import Backoff
from otel_netagent.outputs.sending.delivery import Delivery, close_all
from otel_netagent.outputs.sending.queue import Limits
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, Encoder, Pod
from otel_netagent.outputs.sending.spool import SpoolPlace
from otel_netagent.outputs.sending.statistics import Cause, Tally

__all__ = [
    "NO_POD",
    "Backoff",
    "Cause",
    "Delivery",
    "EncodedRequest",
    "Encoder",
    "Limits",
    "Pod",
    "SpoolPlace",
    "Tally",
    "close_all",
]
