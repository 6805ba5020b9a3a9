"""Every file of collector-config/ is what the program that it is for takes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from tests.integration.commands import run
from tools.stack.programs import CONFIGURATION
from tools.stack.services import Stack

pytestmark = pytest.mark.integration

_COLLECTOR = {
    "agent.yaml": ["agent.yaml"],
    "gateway.yaml": ["gateway.yaml"],
    "gateway-kafka.yaml": ["gateway.yaml", "gateway-kafka.yaml"],
    "victorialogs.yaml": ["agent.yaml", "victorialogs.yaml"],
    "victorialogs.yaml, gateway": ["gateway.yaml", "gateway-kafka.yaml", "victorialogs.yaml"],
}
_OTHERS = {"alerts.yaml", "builder.yaml", "loki.yaml", "prometheus.yaml"}  # the manifest has been built to get here
_TOLD = {
    "PROMETHEUS_REMOTE_WRITE_URL": "http://prometheus:9090/api/v1/write",
    "ARMS_REMOTE_WRITE_URL": "https://arms/api/v3/write",
    "LOKI_OTLP_URL": "http://loki:3100/otlp",
    "VICTORIALOGS_OTLP_URL": "http://victorialogs:9428/insert/opentelemetry",
    "GATEWAY_SERVICE": "gateway",
    "KAFKA_BROKER": "kafka:9092",
}


def test_no_file_is_forgotten() -> None:
    assert {each.name for each in CONFIGURATION.iterdir()} == _OTHERS.union(*_COLLECTOR.values())


def test_gateway_processes_what_arrives_as_the_collector_of_agents_does() -> None:
    """Each file can be deployed without the other, so that both say it."""
    agent, gateway = (yaml.safe_load((CONFIGURATION / name).read_text()) for name in ("agent.yaml", "gateway.yaml"))
    assert gateway["processors"] == agent["processors"]


@pytest.mark.parametrize("files", _COLLECTOR.values(), ids=list(_COLLECTOR))
def test_collector_takes_its_files(files: Sequence[str], stack: Stack, tmp_path: Path) -> None:
    done = _validate(stack, files, {**_TOLD, "QUEUE_DIRECTORY": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("files", "variable"), [
    (["agent.yaml"], "LOKI_OTLP_URL"),
    (["agent.yaml", "victorialogs.yaml"], "VICTORIALOGS_OTLP_URL"),
    (["agent.yaml"], "PROMETHEUS_REMOTE_WRITE_URL"),
    (["gateway.yaml"], "GATEWAY_SERVICE"),
])  # fmt: skip
def test_collector_refuses_to_be_told_too_little(
    files: Sequence[str], variable: str, stack: Stack, tmp_path: Path
) -> None:
    told = {**_TOLD, "QUEUE_DIRECTORY": str(tmp_path)}
    del told[variable]
    assert _validate(stack, files, told).returncode != 0


def test_victorialogs_takes_the_place_of_loki(stack: Stack, tmp_path: Path) -> None:
    """Whoever has no Loki need not say where it is."""
    told = {**_TOLD, "QUEUE_DIRECTORY": str(tmp_path)}
    del told["LOKI_OTLP_URL"]
    done = _validate(stack, ["agent.yaml", "victorialogs.yaml"], told)
    assert (done.returncode, done.stderr) == (0, "")


def test_streams_of_both_log_stores_are_told_apart_by_the_same() -> None:
    loki, victorialogs = (
        yaml.safe_load((CONFIGURATION / f"{name}.yaml").read_text()) for name in ("loki", "victorialogs")
    )
    (indexed,) = loki["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]
    headers = victorialogs["exporters"]["otlp_http/events"]["headers"]
    assert headers["VL-Stream-Fields"].split(",") == indexed["attributes"]


def test_prometheus_takes_its_files(stack: Stack) -> None:
    done = run([str(stack.programs.promtool), "check", "config", str(CONFIGURATION / "prometheus.yaml")])
    assert done.returncode == 0, done.stderr
    assert "13 rules found" in done.stdout


def test_alerts_fire_when_they_should(stack: Stack) -> None:
    """By the cases of alerts_test.yaml."""
    done = run([str(stack.programs.promtool), "test", "rules", str(Path(__file__).with_name("alerts_test.yaml"))])
    assert done.returncode == 0, done.stdout + done.stderr


def _validate(stack: Stack, files: Sequence[str], told: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    configs = [f"--config={CONFIGURATION / name}" for name in files]
    return run([str(stack.programs.collector), "validate", *configs], told)
