"""Where the tests make faults: two joined hosts with names, so that what is told of them is told of nobody else.

The kernel gives the number of a namespace that is gone to the next one; a name is never used twice here.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from lab.links import Pair, join
from lab.namespace import Namespace
from tests.agent.running import Agent


@dataclass(frozen=True, slots=True)
class Stage:
    """Two hosts, and the name under which events of each are told."""

    pair: Pair
    client: str
    server: str

    @property
    def pods(self) -> set[str]:
        """The names of both."""
        return {self.client, self.server}

    @property
    def namespaces(self) -> dict[str, Namespace]:
        """The namespaces of both, by name."""
        return {self.client: self.pair.client.namespace, self.server: self.pair.server.namespace}

    @property
    def inodes(self) -> dict[str, int]:
        """The numbers of both, by name."""
        return {name: namespace.inode for name, namespace in self.namespaces.items()}


def new_name() -> str:
    """For `ip netns`."""
    return f"test-{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def named_pair() -> Iterator[Stage]:
    """Two new namespaces with names, joined by a veth pair."""
    names = new_name(), new_name()
    with Namespace(names[0]) as client, Namespace(names[1]) as server:
        yield Stage(Pair(*join(client, server, subnet=1)), *names)


def nameless(pair: Pair) -> Stage:
    """Two hosts that are called by their numbers, which are theirs for as long as they live."""
    return Stage(pair, *(f"ns{host.namespace.inode}" for host in (pair.client, pair.server)))


def await_known(agent: Agent, *stages: Stage) -> None:
    """Wait until the agent has met these namespaces: for the first second, it may know them by their number only."""
    pods = {pod for stage in stages for pod in stage.pods}
    agent.eventually(lambda: pods <= agent.next_collection().pods)
