"""The resource of the agent."""

from __future__ import annotations

import pytest

from otel_netagent import __version__
from otel_netagent.outputs.otlp.attributes import agent_resource


def test_agent_on_a_plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    assert dict(agent_resource("node-1", kubernetes=False).attributes) == {
        "service.name": "otel-netagent",
        "service.version": __version__,
        "service.instance.id": "5b4e05aa-518b-5b01-9a05-08462269eec4",
        "host.name": "node-1",
    }


def test_environment_adds_and_prevails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=blue,service.version=9,service.name=x")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "net%20agent")
    attributes = agent_resource("node-1", kubernetes=True).attributes
    assert attributes["service.name"] == "net%20agent"
    assert attributes["service.version"] == "9"
    assert attributes["k8s.cluster.name"] == "blue"
    assert attributes["k8s.node.name"] == "node-1"


def test_instance_is_the_same_after_a_restart_and_another_on_another_node() -> None:
    first, again, other = (agent_resource(node, kubernetes=True) for node in ("a", "a", "b"))
    assert first.attributes["service.instance.id"] == again.attributes["service.instance.id"]
    assert first.attributes["service.instance.id"] != other.attributes["service.instance.id"]
