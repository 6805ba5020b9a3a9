"""Names and attributes of data points, log records, scopes and resources."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from otel_netagent import __version__
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.outputs.row_forms import entity_labels
from otel_netagent.unicode import well_formed

_WORKLOADS: Final = frozenset(
    {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}
)
"""Kinds that have attributes of their own (semantic conventions, "Kubernetes")."""

_INSTANCE_NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""For identifiers made from a stable name (semantic conventions, `service.instance.id`)."""

INT64: Final = range(-(2**63), 2**63)
"""Integers that OTLP can hold: 64 bits with sign."""


def agent_resource(node: str, *, kubernetes: bool) -> Resource:
    """The resource of the agent itself, on this node, inside or outside a cluster.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES add to it and take precedence. The instance id is the same after a
    restart, so that a restart starts no new series.
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


def scope_name(probe: str) -> str:
    """Name of the instrumentation scope of this probe's metrics and log records."""
    return f"otel_netagent.{probe}"


def entity_attributes(entity: Entity, node: str) -> dict[str, str]:
    """Attributes of an entity on this node: the labels that metrics have, and everything else that is known of it."""
    attributes = {"netagent.entity.kind": entity.kind.value, **entity_labels(entity, node)}
    if entity.kind is EntityKind.POD:
        attributes |= {"k8s.pod.name": entity.pod, "k8s.namespace.name": entity.namespace}
        attributes |= {"k8s.pod.uid": entity.pod_uid} if entity.pod_uid else {}
        if entity.workload and entity.workload.kind in _WORKLOADS:
            attributes[f"k8s.{entity.workload.kind.lower()}.name"] = entity.workload.name
    if entity.container_id:
        attributes["container.id"] = entity.container_id
    return attributes


def valid_attribute(value: AttributeValue) -> AttributeValue:
    """The value in a form that OTLP can hold: well-formed text, or an integer of 64 bits with sign.

    A larger integer becomes its digits (OpenTelemetry specification, "Mapping to AnyValue").
    """
    if isinstance(value, str):
        return well_formed(value)
    return value if value in INT64 else str(value)


def add_attributes(to: RepeatedCompositeFieldContainer[KeyValue], attributes: Mapping[str, AttributeValue]) -> None:
    """Add attributes to a message's field in place: building them apart and copying them costs twice as much."""
    for key, value in attributes.items():
        field, valid = to.add(key=key).value, valid_attribute(value)
        if isinstance(valid, str):
            field.string_value = valid
        else:
            field.int_value = valid
