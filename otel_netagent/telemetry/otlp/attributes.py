"""Attributes: of points, of log records, and of the resource that they come from."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from otel_netagent import __version__
from otel_netagent.telemetry.event import AttributeValue
from otel_netagent.unicode import well_formed

_INSTANCE_NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""For identifiers made from a stable name (semantic conventions, `service.instance.id`)."""

_INT64 = range(-(2**63), 2**63)


def agent_resource(node: str, *, kubernetes: bool) -> Resource:
    """The agent itself, on the node of this name, in a cluster or outside one.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES add to it and prevail. The instance id is the same
    after a restart, so that a restart begins no new series.
    """
    own = {
        "service.name": "otel-netagent",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid5(_INSTANCE_NAMESPACE, node)),
        "host.name": node,
    }
    if kubernetes:
        own["k8s.node.name"] = node
    return Resource(own).merge(OTELResourceDetector().detect())


def add_attributes(to: RepeatedCompositeFieldContainer[KeyValue], attributes: Mapping[str, AttributeValue]) -> None:
    """Add attributes to a message's field, in place: to build them apart and have them copied costs twice as much.

    An integer beyond 64 bits becomes its digits (OpenTelemetry specification, "Mapping to AnyValue").
    """
    for key, value in attributes.items():
        field = to.add(key=key).value
        if isinstance(value, str):
            field.string_value = well_formed(value)
        elif value in _INT64:
            field.int_value = value
        else:
            field.string_value = str(value)
