"""The probes in a process of somebody else's, on this kernel."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from lab.waiting import eventually
from otel_netagent import instrumentor
from otel_netagent.config.schema import Config, EventConfig, MetricConfig
from otel_netagent.instrumentor import NetagentInstrumentor
from otel_netagent.kernel.namespaces import ProcfsWalk
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probing.declaration import WalkAccess
from tests.pipeline.made_up import Starts

PAGE = Path(__file__).parents[2] / "docs" / "instrumentor.md"
CONFIG = Config(metric=MetricConfig(probes=("tcp",)), event=EventConfig(enable=False))


@pytest.fixture(autouse=True)
def _stopped_in_any_case() -> Iterator[None]:
    yield
    if NetagentInstrumentor().is_instrumented_by_opentelemetry:
        NetagentInstrumentor().uninstrument()


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def meters(reader: InMemoryMetricReader) -> MeterProvider:
    return MeterProvider([reader], shutdown_on_exit=False)


def metrics(reader: InMemoryMetricReader) -> set[tuple[str, str]]:
    data = reader.get_metrics_data()
    scopes = data.resource_metrics[0].scope_metrics if data else []
    return {(scope.scope.name, metric.name) for scope in scopes for metric in scope.metrics}


def test_the_example_of_the_page_runs_as_it_stands() -> None:
    [example] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    command = [sys.executable, "-W", "error", "-c", example]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"^otel_netagent\.tcp inspector_pod_tcpactiveopens hostNetwork \d+$", output, re.MULTILINE)
    nosock = r"^otel_netagent\.tcpreset netagent\.tcpreset\.nosock type=TCPRESET_NOSOCK pod=hostNetwork .*\bdport=1\b"
    assert re.search(nosock, output, re.MULTILINE)


def test_numbers_are_there_from_instrument_to_uninstrument(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    threads = threading.active_count()
    for _ in range(2):  # a provider keeps its instruments, and what they call
        NetagentInstrumentor().instrument(meter_provider=meters, logger_provider=LoggerProvider(), config=CONFIG)
        assert ("otel_netagent.tcp", "inspector_pod_tcpactiveopens") in metrics(reader)
        NetagentInstrumentor().uninstrument()
        assert metrics(reader) == set()
        assert threading.active_count() == threads


def test_another_provider_gets_the_numbers_next(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    other = InMemoryMetricReader()
    for provider in (meters, MeterProvider([other], shutdown_on_exit=False)):
        NetagentInstrumentor().instrument(
            meter_provider=provider, logger_provider=LoggerProvider(shutdown_on_exit=False), config=CONFIG
        )
        NetagentInstrumentor().uninstrument()
    NetagentInstrumentor().instrument(meter_provider=meters, config=CONFIG)
    assert metrics(reader)
    assert metrics(other) == set()


def test_only_the_probes_of_the_configuration_run(reader: InMemoryMetricReader, meters: MeterProvider) -> None:
    NetagentInstrumentor().instrument(meter_provider=meters, config=CONFIG)
    assert {scope for scope, _ in metrics(reader)} == {"otel_netagent.tcp"}


def test_a_probe_that_was_unavailable_is_tried_again(
    reader: InMemoryMetricReader, meters: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(refused={"late"})
    probes = {name: starts.declare(name) for name in ("early", "late")}
    monkeypatch.setattr(instrumentor, "catalogue", lambda: probes)
    monkeypatch.setattr(instrumentor, "RETRY_EVERY_S", 0.01)
    NetagentInstrumentor().instrument(meter_provider=meters, config=Config(event=EventConfig(enable=False)))
    assert {scope for scope, _ in metrics(reader)} == {"otel_netagent.early"}
    starts.refused.clear()
    eventually(lambda: {scope for scope, _ in metrics(reader)} == {"otel_netagent.early", "otel_netagent.late"})
    NetagentInstrumentor().uninstrument()
    assert starts.running == {}
    assert "retries" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("legacy", [True, False])
def test_headers_do_for_btf_if_the_configuration_says_so(
    legacy: bool, meters: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def find(*, legacy: bool) -> KernelAccess:
        asked.append(legacy)
        return KernelAccess(None, "not asked for", WalkAccess(ProcfsWalk()))

    monkeypatch.setattr(instrumentor, "find_kernel_access", find)
    NetagentInstrumentor().instrument(
        meter_provider=meters, config=CONFIG.model_copy(update={"enable_legacy_version": legacy})
    )
    assert asked == [legacy]
