"""The answer to `GET /status`: written by the agent, read by `inspector`."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.kubernetes.watch_condition import OFF, WatchCondition, WatchState
from otel_netagent.identity.pod import Workload
from otel_netagent.model.output_status import OutputStatus
from otel_netagent.model.probe_status import HookStatus, ProbeState, ProbeStatus, Refusal


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """State of the agent, as `GET /status` answers it and `inspector list` shows it.

    `entities` are by the cookies of their namespaces. `kubernetes` says whether pods' names are known, and why not.
    `outputs` has every output, those that are off too.
    """

    version: str
    node: str
    kernel: str
    btf: str
    probes: tuple[ProbeStatus, ...]
    entities: Mapping[int, Entity]
    kubernetes: WatchCondition = OFF
    outputs: tuple[OutputStatus, ...] = ()

    def to_json(self) -> str:
        """The status as a JSON object, with enumerations as their values and entities as a list."""
        document = dataclasses.asdict(dataclasses.replace(self, entities={}))
        document["entities"] = [dataclasses.asdict(entity) for entity in self.entities.values()]
        return json.dumps(document, default=_enum_value)

    @classmethod
    def from_json(cls, text: str | bytes) -> AgentStatus:
        """The status that `to_json` wrote. Unknown keys (of a newer agent) are ignored.

        Raises ValueError if the text is not a status.
        """
        try:
            document = json.loads(text)
            entities = [_entity(each) for each in document["entities"]]
            return cls(
                version=document["version"],
                node=document["node"],
                kernel=document["kernel"],
                btf=document["btf"],
                probes=tuple(_probe(each) for each in document["probes"]),
                entities={entity.netns_cookie: entity for entity in entities},
                kubernetes=_condition(document["kubernetes"]),
                outputs=tuple(OutputStatus(each["name"], each["where"], each["lost"]) for each in document["outputs"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not the status of an agent: {error!r}") from error


def _enum_value(thing: object) -> object:
    if isinstance(thing, enum.Enum):
        return thing.value
    raise TypeError(f"{type(thing).__name__} has no JSON form")


def _probe(document: Mapping[str, Any]) -> ProbeStatus:
    return ProbeStatus(
        name=document["name"],
        state=ProbeState(document["state"]),
        hooks=tuple(_hook(each) for each in document["hooks"]),
        reason=document["reason"],
        capabilities=tuple(document["capabilities"]),
        cost=document["cost"],
    )


def _hook(document: Mapping[str, Any]) -> HookStatus:
    refused = tuple(Refusal(each["way"], each["reason"]) for each in document["refused"])
    return HookStatus(purpose=document["purpose"], way=document["way"], refused=refused)


def _condition(document: Mapping[str, Any]) -> WatchCondition:
    return WatchCondition(
        state=WatchState(document["state"]),
        reason=document["reason"],
        pods=document["pods"],
        failures=document["failures"],
        lists=document["lists"],
    )


def _entity(document: Mapping[str, Any]) -> Entity:
    workload = document["workload"]
    return Entity(
        netns=document["netns"],
        netns_cookie=document.get("netns_cookie", document["netns"]),  # an older agent does not know it
        kind=EntityKind(document["kind"]),
        pod=document["pod"],
        namespace=document["namespace"],
        start_ns=document["start_ns"],
        pod_uid=document["pod_uid"],
        container_id=document["container_id"],
        workload=Workload(workload["kind"], workload["name"]) if workload else None,
        labels=tuple((name, value) for name, value in document["labels"]),
        labels_left_out=document["labels_left_out"],
    )
