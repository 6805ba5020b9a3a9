"""Whom the agent speaks of: who is there, from the first process to the last; and whom it keeps alive: nobody."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
from pathlib import Path

from lab.links import loopback
from lab.namespace import Namespace
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent import __version__
from otel_netagent.identity.entity import EntityKind
from otel_netagent.model.probe_status import ProbeState
from tests.agent.closed_ports import closed_udp_port
from tests.agent.command import NODE
from tests.agent.running import Agent, Told
from tests.agent.stage import await_known, named_pair, nameless, new_name


def test_there_from_the_first_process_to_the_last(agent: Agent) -> None:
    name = new_name()
    with Namespace(name) as namespace:
        agent.eventually(lambda: name in agent.next_collection().pods)
        with namespace.run(subprocess.Popen, ["cat"], stdin=subprocess.PIPE) as second:
            kill_holder(namespace)
            assert agent.next_collection().of(name).keys() >= {"inspector_pod_tcpcurrestab"}
            second.kill()
        agent.eventually(lambda: name not in agent.next_collection().pods)
        assert all(entity["pod"] != name for entity in entities(agent))


def test_named_by_number_without_a_name(agent: Agent, netns: Namespace) -> None:
    stage = nameless(loopback(netns))
    await_known(agent, stage)
    before = len(agent.err)
    expected = closed_udp_port(stage, Family.IPV4)
    # A line of an earlier namespace that had this number is not after this one's making.
    told = agent.eventually(lambda: [told for line in agent.err[before:] if (told := Told.of(line)) in expected])
    assert told == expected


def test_named_by_ip_netns_without_a_process(agent: Agent) -> None:
    """Within a second, since no more often does the agent look for namespaces that it does not know."""
    with named_pair() as stage:
        kill_holder(stage.namespaces[stage.server])
        made: list[Told] = []

        def told() -> list[Told | None]:
            made.extend(closed_udp_port(stage, Family.IPV4))
            return [Told.of(line) for line in agent.event_lines([stage.server])]

        assert agent.eventually(told)[0] in made
        agent.eventually(lambda: stage.server not in agent.next_collection().pods)


def test_inspector_lists_entities(agent: Agent) -> None:
    with named_pair() as stage:
        await_known(agent, stage)
        listed = {entity["pod"]: entity for entity in entities(agent)}
        for pod, namespace in stage.namespaces.items():
            assert listed[pod]["netns"] == namespace.inode
            assert (listed[pod]["kind"], listed[pod]["namespace"]) == (EntityKind.NETNS.value, "standaloneNetns")
        host = listed["hostNetwork"]
        assert host["netns"] == Path("/proc/self/ns/net").stat().st_ino
        assert (host["kind"], host["namespace"]) == (EntityKind.HOST.value, "hostNetwork")
        table = agent.inspect("list", "entity", port=agent.http)
        inode = stage.inodes[stage.client]
        assert re.search(rf"^{inode} +netns +{stage.client} +standaloneNetns +- +\d+s$", table, re.MULTILINE)


def test_inspector_lists_probes(agent: Agent) -> None:
    probes = agent.probes()
    running = {name: probe for name, probe in probes.items() if probe.state is ProbeState.RUNNING}
    assert running.keys() >= {"netdev", "packetloss", "tcp", "tcpext", "tcpreset", "udp"}
    head, _, *rows = agent.inspect("list", "probe", port=agent.http).splitlines()
    assert head.startswith(f"{NODE}: otel-netagent {__version__}, kernel {platform.release()}, BTF /")
    shown = [row.split() for row in rows]
    assert [row for row in shown if row[0] in running] == [
        [name, "running", *hook.purpose.split(), hook.way] for name, probe in running.items() for hook in probe.hooks
    ]
    assert {tuple(row[:2]) for row in shown} == {(name, probe.state.value) for name, probe in probes.items()}


def test_keeps_no_namespace_alive(agent: Agent) -> None:
    """A namespace that the agent has collected and told of goes with its process: its device's peer disappears."""
    with named_pair() as stage:
        await_known(agent, stage)
        closed_udp_port(stage, Family.IPV4)
        agent.eventually(lambda: agent.event_lines(stage.pods))
        device = stage.pair.client.device
        assert device in stage.namespaces[stage.client].proc_net("dev")
        stage.namespaces[stage.server].close()
        agent.eventually(lambda: device not in stage.namespaces[stage.client].proc_net("dev"))
    # Files of a process are open for the moment of a collection.
    agent.eventually(lambda: not [link for link in open_files(agent) if link.startswith(("net:[", "/proc/", "/run/"))])
    assert {path.readlink() for path in Path(f"/proc/{agent.pid}/task").glob("*/ns/net")} == {
        Path("/proc/self/ns/net").readlink()
    }


def kill_holder(namespace: Namespace) -> None:
    """End the process that holds a namespace, which lives on by its name or by other processes."""
    os.kill(namespace.pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{namespace.pid}/ns/net").exists())


def entities(agent: Agent) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(agent.inspect("list", "entity", "-o", "json", port=agent.http))
    return listed


def open_files(agent: Agent) -> list[str]:
    """What the agent's file descriptors refer to; those that are closed meanwhile are left out."""
    links = []
    for fd in Path(f"/proc/{agent.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(fd.readlink()))
    return links
