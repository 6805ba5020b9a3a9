"""The fleet's tier: what an agent sends reaches every backend, by way of the instance that its resource belongs to."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.truth import Family
from tests.agent.closed_ports import closed_tcp_port
from tests.agent.running import Told
from tests.agent.stage import await_known, named_pair
from tests.integration.conftest import STORES, NewStack, running
from tests.integration.log_queries import Selection
from tools.stack.services import HOST, Stack
from tools.stack.victorialogs import VictoriaLogs

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("_root")
@pytest.mark.parametrize("stack", STORES, indirect=True)
def test_gateway_delivers_to_all_backends(stack: Stack, new_stack: NewStack, tmp_path: Path) -> None:
    second = new_stack(VictoriaLogs.name)
    told = {"GATEWAY_SERVICE": HOST, "ARMS_REMOTE_WRITE_URL": f"{second.prometheus_url}/api/v1/write"}
    with (
        second.prometheus(),
        running(stack, tmp_path, "gateway.yaml", **told) as far_end,
        named_pair() as stage,
    ):
        await_known(far_end.agent, stage)
        began_ns = time.time_ns()
        expected = closed_tcp_port(stage, Family.IPV4)
        for each in (far_end, replace(far_end, stack=second)):
            query = (
                f'inspector_pod_tcpoutrsts{{pod="{stage.server}",job="otel-netagent",cluster="cluster-of-tests"}} > 0'
            )
            (sample,) = each.await_promql(query)
            assert (sample.name, sample.value) == ("inspector_pod_tcpoutrsts", 1)
        refused = Selection({"pod": f"{stage.client}|{stage.server}"}, {"destination.port": "9"})
        entries = far_end.await_events(refused, began_ns, at_least=len(expected))
        assert {Told.of(entry.line) for entry in entries} == set(expected)
