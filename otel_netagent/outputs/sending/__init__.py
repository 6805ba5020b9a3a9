"""Delivery, shared by all outputs that send: an item arrives, waits on disk, or is counted as dropped."""

from otel_netagent.backoff import Backoff
from otel_netagent.outputs.sending.delivery import Delivery, close_all
from otel_netagent.outputs.sending.queue import Limits
from otel_netagent.outputs.sending.request import NO_POD, EncodedRequest, Encoder, PodName
from otel_netagent.outputs.sending.spool import SpoolPlace
from otel_netagent.outputs.sending.statistics import Cause, DeliveryStatistics

__all__ = [
    "NO_POD",
    "Backoff",
    "Cause",
    "Delivery",
    "DeliveryStatistics",
    "EncodedRequest",
    "Encoder",
    "Limits",
    "PodName",
    "SpoolPlace",
    "close_all",
]
