"""Delivery: shared by all outputs that send. What is handed over arrives, waits on disk, or is counted as let go."""

from otel_netagent.backoff import Backoff
from otel_netagent.telemetry.delivery.account import Cause, Tally
from otel_netagent.telemetry.delivery.parcel import NO_POD, Encoder, Parcel, Pod
from otel_netagent.telemetry.delivery.queue import Limits
from otel_netagent.telemetry.delivery.sending import Delivery, close_all
from otel_netagent.telemetry.delivery.spool import SpoolPlace

__all__ = [
    "NO_POD",
    "Backoff",
    "Cause",
    "Delivery",
    "Encoder",
    "Limits",
    "Parcel",
    "Pod",
    "SpoolPlace",
    "Tally",
    "close_all",
]
