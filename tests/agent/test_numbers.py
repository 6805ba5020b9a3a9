"""What `/metrics` says when asked often, and when there is more than can be told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from lab.counters import counters
from lab.links import Pair
from lab.truth import Family
from tests.agent.closed_ports import closed_tcp_port, closed_udp_port
from tests.agent.exposition import Exposition
from tests.agent.running import Agent, Told
from tests.agent.stage import Stage, await_known, named_pair, nameless

_FLOOD = 20_000
_TOLD_A_SECOND = 100
_SUPPRESSED = re.compile(r"of=PACKETLOSS suppressed=(\d+) lost=0")


def test_scrape_does_not_collect(tmp_path: Path, pair: Pair) -> None:
    """An hour lies between collections: whatever happens, every scrape gets the same bytes, with the same time."""
    stage = nameless(pair)
    with Agent(tmp_path, metric={"interval": 3600}) as agent:
        first = agent.get("/metrics")
        closed_udp_port(stage, Family.IPV4)
        agent.eventually(lambda: agent.event_lines(stage.pods))
        assert agent.get("/metrics") == first


def test_noisy_neighbour(agent: Agent, record_property: Callable[[str, object], None]) -> None:
    """What is too much in one namespace is counted, and hides nothing that happens in another."""
    with named_pair() as noisy, named_pair() as quiet:
        await_known(agent, noisy, quiet)
        cpu_s, began = agent.cpu_seconds(), time.monotonic()
        closed_udp_port(noisy, Family.IPV4, _FLOOD // 2)
        expected = closed_tcp_port(quiet, Family.IPV4)
        closed_udp_port(noisy, Family.IPV4, _FLOOD // 2)
        seconds = time.monotonic() - began

        agent.eventually(lambda: len(agent.event_lines(quiet.pods)) >= len(expected))
        assert {Told.of(line) for line in agent.event_lines(quiet.pods)} == set(expected)

        collected = agent.next_collection()
        record_property("agent's CPU time for 20,000 drops (s)", agent.cpu_seconds() - cpu_s)
        outcomes = _outcomes(collected, noisy)
        routine = sum(told.is_routine for told in agent.told(noisy.server))
        assert sum(outcomes.values()) == _FLOOD + routine
        assert counters(noisy.namespaces[noisy.server])["Udp.NoPorts"] == _FLOOD
        assert 0 < outcomes["emitted"] <= _TOLD_A_SECOND * (int(seconds) + 2) + routine
        agent.eventually(lambda: len(_drops_told(agent, noisy)) == outcomes["emitted"])
        agent.eventually(lambda: _told_as_suppressed(agent, noisy) == outcomes["suppressed"])


def _drops_told(agent: Agent, stage: Stage) -> list[Told]:
    return [told for told in agent.told(stage.server) if told.type == "PACKETLOSS"]


def _told_as_suppressed(agent: Agent, stage: Stage) -> int:
    """What the lines that sum up say, all together."""
    sums = [told.body for told in agent.told(stage.server) if told.type == "EVENTS_SUPPRESSED"]
    return sum(int(match[1]) for body in sums if (match := _SUPPRESSED.fullmatch(body)))


def _outcomes(collected: Exposition, stage: Stage) -> dict[str, float]:
    """What became of the drops at the server."""
    events = collected.of(stage.server, "type", "outcome")
    return {
        outcome: events[f"netagent_events_total,PACKETLOSS,{outcome}"] for outcome in ("emitted", "suppressed", "lost")
    }
