"""The registry names the owner of each namespace, in time and at a bounded cost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.links import joined_pair
from lab.namespace import Namespace
from lab.waiting import eventually
from otel_netagent.identity import netns_processes as processes
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.registry import DEPARTED_S, SEARCH_AGAIN_S, SEARCH_EVERY_S, SETTLING_S, Registry
from otel_netagent.kernel.namespaces import Namespace as Live
from tests.identity.cgroups import move, new_cgroup
from tests.identity.fake_proc import HOST
from tests.identity.node import Node, walked
from tests.identity.reused import SEVERAL, namespace_with_one_of

UID, OTHER_UID = "3ae65e4f-ef60-4b67-9e2b-1bbcaa1ecd21", "00000000-1111-2222-3333-444444444444"
ID, SANDBOX = "0c8d9f5a" * 8, "f00dfeed" * 8
POD_CGROUP = f"/kubepods/burstable/pod{UID}"
POD, OTHER, NAMED = 4026532001, 4026532002, 4026532003
COOKIE = 5


# --- Who owns a namespace


def test_the_namespace_of_pid_1_is_the_host_whoever_else_is_in_it(node: Node) -> None:
    node.proc.start(7, HOST, f"{POD_CGROUP}/{ID}")
    host = node.update()[HOST]
    assert (host.kind, host.pod, host.namespace) == (EntityKind.HOST, "hostNetwork", "hostNetwork")
    assert node.lookup(HOST) == host


def test_a_pod_is_named_by_its_uid_and_its_sandbox(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{ID}", ticks=900)
    node.proc.start(31, POD, f"{POD_CGROUP}/{SANDBOX}", ticks=800)
    pod = node.update()[POD]
    assert (pod.kind, pod.pod, pod.namespace) == (EntityKind.POD, UID, "unknownNamespace")
    assert (pod.pod_uid, pod.container_id) == (UID, SANDBOX)


def test_of_containers_that_started_in_the_same_tick_it_is_the_lower_pid(node: Node) -> None:
    node.proc.start(31, POD, f"{POD_CGROUP}/{ID}", ticks=800)
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}", ticks=800)
    assert node.update()[POD].container_id == SANDBOX


def test_a_container_is_named_by_its_short_id(node: Node) -> None:
    node.proc.start(30, POD, f"/docker/{ID}")
    container = node.update()[POD]
    assert (container.kind, container.pod, container.namespace) == (
        EntityKind.CONTAINER,
        ID[:12],
        "standaloneContainer",
    )
    assert (container.pod_uid, container.container_id) == ("", ID)


def test_an_older_process_of_the_runtime_does_not_own_the_pod(node: Node) -> None:
    node.proc.start(20, POD, "/system.slice/containerd.service")
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    assert node.update()[POD].kind is EntityKind.POD


def test_any_other_namespace_is_named_by_its_inode(node: Node) -> None:
    node.proc.start(30, OTHER)
    other = node.update()[OTHER]
    assert (other.kind, other.pod, other.namespace) == (EntityKind.NETNS, f"ns{OTHER}", "standaloneNetns")


def test_exactly_the_live_namespaces_are_given(node: Node) -> None:
    node.proc.start(30, POD)
    assert node.update().keys() == {HOST, POD}
    node.proc.end(30)
    node.proc.start(40, OTHER)
    assert node.update().keys() == {HOST, OTHER}
    assert node.registry.update([]) == {}


def test_a_namespace_whose_processes_ended_during_the_update_still_has_an_entity(node: Node) -> None:
    entity = node.registry.update([Live(POD, COOKIE, 12345, ())])[COOKIE]
    assert (entity.pod, entity.start_ns) == (f"ns{POD}", 0)
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update({POD: COOKIE})[POD]
    assert pod.pod == UID
    assert pod.start_ns > 0


# --- When it is examined again


def test_the_sandbox_takes_over_a_namespace_that_the_runtime_made(node: Node) -> None:
    node.proc.start(20, POD, "/system.slice/containerd.service")
    first = node.update()[POD]
    assert first.kind is EntityKind.NETNS
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.clock.now += 5
    second = node.update()[POD]
    assert (second.pod, second.start_ns) == (UID, first.start_ns)
    node.proc.end(20)
    node.clock.now += 5
    assert node.update()[POD] == second


def test_an_old_namespace_without_container_is_examined_each_minute(node: Node) -> None:
    node.proc.start(20, POD)
    node.update()
    node.clock.now += SETTLING_S
    node.update()
    node.proc.start(30, POD, f"/docker/{ID}")
    node.clock.now += SETTLING_S - 1
    assert node.update()[POD].kind is EntityKind.NETNS
    node.clock.now += 1
    assert node.update()[POD].kind is EntityKind.CONTAINER


def test_a_pod_is_settled_and_its_start_stays(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    first = node.update()[POD]
    node.proc.start(20, POD, f"/docker/{ID}")  # the pids have wrapped around: the walk now gives this one
    for _ in range(3):
        node.clock.now += SETTLING_S
        assert node.update()[POD] == first


def test_a_number_given_to_the_next_namespace_is_noticed(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}", ticks=800)
    first = node.update()[POD]
    node.proc.end(30)
    node.proc.start(31, POD, f"/kubepods/pod{OTHER_UID}/{ID}", ticks=900)
    node.clock.now += 1
    second = node.update()[POD]
    assert (second.pod, second.container_id) == (OTHER_UID, ID)
    assert second.start_ns > first.start_ns
    assert node.lookup(POD) == second


# --- Events


def test_an_event_of_a_new_pod_finds_it_before_the_next_update(node: Node) -> None:
    node.update()
    node.clock.now += SEARCH_EVERY_S
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    assert node.lookup(POD).pod == UID
    assert node.update()[POD].pod == UID


def test_short_lived_namespaces_cause_one_scan_in_a_while(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    assert node.lookup(OTHER).pod == f"ns{OTHER}"  # this one scans
    node.proc.start(31, NAMED, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD).pod == UID  # by the same scan
    assert node.lookup(NAMED).pod == f"ns{NAMED}"  # which is older than this one
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(NAMED).pod == ID[:12]


def test_a_namespace_without_process_is_not_sought_for_ever(node: Node) -> None:
    assert node.lookup(OTHER).pod == f"ns{OTHER}"
    node.proc.start(30, OTHER, f"/docker/{ID}")
    node.clock.now += SEARCH_AGAIN_S - 1
    assert node.lookup(OTHER).pod == f"ns{OTHER}"
    node.clock.now += 1
    assert node.lookup(OTHER).pod == ID[:12]


def test_late_events_of_a_pod_are_still_its_own(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update()[POD]
    node.proc.end(30)
    node.update()
    node.clock.now += DEPARTED_S - 1
    assert node.lookup(POD) == pod
    node.clock.now += SEARCH_AGAIN_S
    node.update()
    assert node.lookup(POD).pod == f"ns{POD}"


def test_late_events_of_a_pod_are_its_own_even_if_its_first_came_before_its_first_process(node: Node) -> None:
    assert node.lookup(POD).pod == f"ns{POD}"
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update()[POD]
    node.proc.end(30)
    node.update()
    assert node.lookup(POD) == pod


def test_late_events_do_not_go_to_the_last_owner_once_another_has_the_number(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.update()
    node.proc.end(30)
    node.update()
    node.proc.start(31, POD, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S
    assert node.lookup(POD).pod == ID[:12]


def test_lookups_and_updates_may_meet(node: Node) -> None:
    numbers = range(4026532100, 4026532150)
    for pid, netns in enumerate(numbers, 100):
        node.proc.start(pid, netns, f"/docker/{pid:064x}")
    wrong: list[Entity] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            wrong.extend(entity for netns in numbers if (entity := node.lookup(netns)).netns != netns)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for round_ in range(20):
            node.clock.now += SEARCH_AGAIN_S
            live = [Live(netns, netns, pid, ()) for pid, netns in enumerate(numbers, 100) if (pid + round_) % 3]
            assert node.registry.update(live).keys() == {each.inode for each in live}
    finally:
        done.set()
        thread.join()
    assert not wrong


# --- The machine itself


@dataclass(frozen=True)
class Machine:
    """A registry over this machine, where the update is by a scan of ours that has no cookies."""

    registry: Registry

    def update(self) -> dict[int, Entity]:
        """Update with every namespace that has a process now."""
        return dict(self.registry.update(walked(processes.by_netns(), {})))

    def lookup(self, netns: int) -> Entity:
        """Look up the namespace of an event that has no cookie."""
        return self.registry.lookup(netns, netns)


@pytest.fixture
def machine() -> Machine:
    return Machine(Registry())


@pytest.fixture
def unshared() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a process in a network namespace of its own, as many as are asked for."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE))
            own = os.readlink("/proc/self/ns/net")  # noqa: PTH115 -- of a link that leads nowhere
            eventually(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own)  # noqa: PTH115
            return process

        yield start


def inode(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def test_the_machine_is_the_host(machine: Machine) -> None:
    host = machine.update()[inode(os.getpid())]
    booted_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert host.kind is EntityKind.HOST
    assert abs(host.start_ns - booted_ns) < 60_000_000_000


def test_an_unshared_process_appears_and_disappears(
    machine: Machine, unshared: Callable[[], subprocess.Popen[bytes]]
) -> None:
    before = time.time_ns()
    process = unshared()
    netns = inode(process.pid)
    entity = machine.update()[netns]
    assert (entity.kind, entity.pod) == (EntityKind.NETNS, f"ns{netns}")
    assert before - 20_000_000 <= entity.start_ns <= time.time_ns()
    process.kill()
    process.wait()
    assert netns not in machine.update()


def test_a_namespace_of_ip_netns_has_its_name(machine: Machine) -> None:
    name = f"netagent-test-{os.getpid()}"
    with Namespace(name) as namespace:
        entity = machine.update()[namespace.inode]
        assert (entity.kind, entity.pod, entity.namespace) == (EntityKind.NETNS, name, "standaloneNetns")


def test_a_namespace_of_ip_netns_without_process_is_named_for_events(machine: Machine) -> None:
    name = f"netagent-test-{os.getpid()}"
    with Namespace(name) as namespace:
        os.kill(namespace.pid, signal.SIGKILL)
        eventually(lambda: namespace.inode not in machine.update())
        assert machine.lookup(namespace.inode).pod == name


@pytest.mark.parametrize(
    ("cgroup", "kind", "pod"),
    [
        (f"kubepods/burstable/pod{UID}/{SANDBOX}", EntityKind.POD, UID),
        (
            f"kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{SANDBOX}.scope",
            EntityKind.POD,
            UID,
        ),
        (f"docker/{SANDBOX}", EntityKind.CONTAINER, SANDBOX[:12]),
    ],
)
def test_a_process_in_the_cgroup_of_a_container_names_its_namespace(
    machine: Machine, cgroup: str, kind: EntityKind, pod: str
) -> None:
    with new_cgroup(cgroup) as directory, Namespace() as namespace:
        move(namespace.pid, directory)
        entity = machine.update()[namespace.inode]
        assert (entity.kind, entity.pod, entity.container_id) == (kind, pod, SANDBOX)


def test_a_reused_number_is_noticed_on_the_real_kernel(machine: Machine) -> None:
    with new_cgroup(f"docker/{ID}") as cgroup, ExitStack() as alive:
        containers = [alive.enter_context(Namespace()) for _ in range(SEVERAL)]
        for container in containers:
            move(container.pid, cgroup)
        entities = machine.update()
    numbers = [container.inode for container in containers]
    assert {entities[number].container_id for number in numbers} == {ID}
    with namespace_with_one_of(numbers) as other:
        assert machine.update()[other.inode].kind is EntityKind.NETNS


def test_a_namespace_that_only_a_thread_is_in_is_examined_by_that_thread(machine: Machine, netns: Namespace) -> None:
    def alone_in_it() -> Entity:
        os.kill(netns.pid, signal.SIGKILL)
        eventually(lambda: netns.inode not in processes.by_netns())
        return machine.registry.update([Live(netns.inode, netns.inode, threading.get_native_id(), ())])[netns.inode]

    assert netns.run(alone_in_it).start_ns > 0


def test_the_registry_keeps_no_namespace_alive(machine: Machine) -> None:
    with joined_pair() as pair:
        gone = pair.server.namespace
        assert machine.update()[gone.inode] == machine.lookup(gone.inode)
        gone.close()
        eventually(lambda: pair.client.device not in pair.client.namespace.proc_net("dev"))
        assert gone.inode not in machine.update()
