"""The agent's own account of itself, read from `GET /status`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

import click

from otel_netagent.cli.inspector.address import Address
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.telemetry.status import AgentStatus, HookStatus, ProbeState, ProbeStatus, Refusal

_TIMEOUT_S = 5.0


def read_status(address: Address) -> AgentStatus:
    """Ask the agent at `address`. Raises click.ClickException, with one clear line."""
    code, body = _get(address, "/status")
    if code != http.client.OK:
        raise _stranger(address, f"HTTP status {code}")
    try:
        return status_from_json(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _stranger(address, "something else than its status") from error


def status_from_json(text: str | bytes) -> AgentStatus:
    """The reverse of `AgentStatus.to_json`; keys that are not known here (of a newer agent) are passed over.

    Raises ValueError, TypeError, KeyError or AttributeError where the text is no status.
    """
    document = json.loads(text)
    entities = [_entity(each) for each in document["entities"]]
    return AgentStatus(
        version=document["version"],
        node=document["node"],
        kernel=document["kernel"],
        btf=document["btf"],
        probes=tuple(_probe(each) for each in document["probes"]),
        entities={entity.netns: entity for entity in entities},
    )


def _probe(document: Mapping[str, Any]) -> ProbeStatus:
    return ProbeStatus(
        name=document["name"],
        state=ProbeState(document["state"]),
        hooks=tuple(_hook(each) for each in document["hooks"]),
        reason=document["reason"],
    )


def _hook(document: Mapping[str, Any]) -> HookStatus:
    refused = tuple(Refusal(each["way"], each["reason"]) for each in document["refused"])
    return HookStatus(purpose=document["purpose"], way=document["way"], refused=refused)


def _entity(document: Mapping[str, Any]) -> Entity:
    return Entity(
        netns=document["netns"],
        kind=EntityKind(document["kind"]),
        pod=document["pod"],
        namespace=document["namespace"],
        start_ns=document["start_ns"],
        pod_uid=document["pod_uid"],
        container_id=document["container_id"],
    )


def _get(address: Address, path: str) -> tuple[int, bytes]:
    """Plain HTTP without a proxy: an agent's address is one of the cluster."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise _stranger(address, "something else than HTTP") from error
    except OSError as error:
        raise click.ClickException(
            f"cannot reach {address}: {error.strerror or error}; is the agent running there, "
            f"with metric_config.port {address.port}?"
        ) from error
    finally:
        connection.close()


def _stranger(address: Address, answer: str) -> click.ClickException:
    return click.ClickException(
        f"{address} answers GET /status with {answer}: it is not the HTTP port of an otel-netagent of this version "
        "(metric_config.port)"
    )
