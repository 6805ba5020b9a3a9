"""A running agent whose descriptors are taken: by connections that say nothing, and all of them."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from lab.truth import Family
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import INSPECTOR, NETAGENT, Program
from tests.agent.running import Agent, Told
from tests.agent.stage import await_known, named_pair
from tests.file_limit import no_file_left

_HARD = 512
_IDLE = 1_000
_REMEDY = "raise the limit of open files"


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Agent]:
    """An agent that may have so many files, and begins with half of them."""
    command = ("prlimit", f"--nofile={_HARD // 2}:{_HARD}", NETAGENT)
    with Agent(tmp_path, command=command) as agent:
        yield agent


@contextlib.contextmanager
def _idle_connections(port: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(_IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        yield


def test_connections_that_say_nothing_take_nothing_from_others(limited: Agent) -> None:
    assert resource.prlimit(limited.pid, resource.RLIMIT_NOFILE) == (_HARD, _HARD)
    with named_pair() as stage, _idle_connections(limited.grpc):
        await_known(limited, stage)
        told = closed_udp_port(stage, Family.IPV4)
        limited.eventually(lambda: told == limited.told(stage.server))
        assert not [line for line in limited.err if _REMEDY in line]
        with _idle_connections(limited.http):
            limited.next_collection()


def test_agent_without_a_free_descriptor_goes_on_and_comes_back(limited: Agent) -> None:
    with named_pair() as known, named_pair() as new:
        await_known(limited, known)
        with no_file_left(limited.pid):
            limited.eventually(lambda: [line for line in limited.err if "cannot be collected" in line])
            for stage in (known, new):
                told = closed_udp_port(stage, Family.IPV4)
                limited.eventually(partial(_is_told, limited, told))
        assert known.pods <= limited.next_collection().pods
        await_known(limited, new)
        told = closed_udp_port(new, Family.IPV4)
        limited.eventually(lambda: limited.told(new.server)[-1:] == told)
        with Program([INSPECTOR, "list", "probe", "-e", f"127.0.0.1:{limited.http}"]) as inspector:
            assert inspector.wait() == 0
    (line,) = [line for line in limited.err if "the walk over the namespaces cannot be collected" in line]
    assert _REMEDY in line


def _is_told(agent: Agent, expected: Sequence[Told]) -> bool:
    """Whether this was told of whomever: a namespace that is new may go by its number."""
    return all(any(each.body in line for line in agent.err) for each in expected)
