"""By their cookies namespaces are told apart that have the same inode number one after the other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lab.links import loopback
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.identity import netns_processes as processes
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.naming import EntityNaming, Labelled
from otel_netagent.identity.pod import Pod
from otel_netagent.identity.registry import DEPARTED_S, SEARCH_AGAIN_S, SEARCH_EVERY_S, SETTLING_S, Registry
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import KernelWalk
from otel_netagent.kernel.namespaces import Namespace as Live
from otel_netagent.pipeline.collector import Collector
from otel_netagent.pipeline.kernel_access import OBJECTS, find_kernel_access
from otel_netagent.probes import catalogue
from tests.identity.cgroups import move, new_cgroup
from tests.identity.fake_proc import HOST
from tests.identity.node import Clock, Node, walked
from tests.identity.reused import SEVERAL, namespace_with_one_of, namespaces_with_some_of
from tests.interleaving import Meeting
from tests.probes.collected import collected

ID, SANDBOX = "0c8d9f5a" * 8, "f00dfeed" * 8
POD_CGROUP = "/kubepods/burstable/pod3ae65e4f-ef60-4b67-9e2b-1bbcaa1ecd21"
POD, OTHER = 4026532001, 4026532002
COOKIE, NEXT_COOKIE = 5, 6


def test_a_known_number_with_another_cookie_is_another_namespace(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update({POD: COOKIE})[POD]
    node.proc.end(30)
    node.proc.start(31, POD, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S
    assert node.lookup(POD, NEXT_COOKIE).pod == ID[:12]
    assert node.lookup(POD, COOKIE) == pod


def test_an_entity_has_the_cookie_of_its_namespace(node: Node) -> None:
    """However it became known; the host's with the first walk, and the same object from then on."""
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    assert node.lookup(HOST, 1).netns_cookie == HOST
    assert node.lookup(OTHER, NEXT_COOKIE).netns_cookie == NEXT_COOKIE
    entities = node.update({HOST: 1, POD: COOKIE})
    assert {netns: each.netns_cookie for netns, each in entities.items()} == {HOST: 1, POD: COOKIE}
    assert node.lookup(HOST, 1) is entities[HOST]
    assert node.update({HOST: 1, POD: COOKIE})[HOST] is entities[HOST]


def test_the_scan_before_a_number_changed_hands_names_nobody(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.update({POD: COOKIE})
    node.proc.end(30)
    node.proc.start(31, POD, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD, NEXT_COOKIE).pod == f"ns{POD}"
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD, NEXT_COOKIE).pod == ID[:12]


@pytest.mark.parametrize("lives_on", [False, True], ids=["and ended", "and moved"])
def test_a_scan_from_before_the_first_event_of_a_namespace_proves_nothing(node: Node, lives_on: bool) -> None:
    """Also where nobody has seen the namespace that had the number then, but the scan."""
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    assert node.lookup(OTHER, COOKIE).pod == f"ns{OTHER}"  # this one scans
    node.proc.end(30)
    if lives_on:
        node.proc.start(30, OTHER, f"{POD_CGROUP}/{SANDBOX}")
    node.proc.start(31, POD, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD, NEXT_COOKIE).pod == f"ns{POD}"
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD, NEXT_COOKIE).pod == ID[:12]


def test_a_process_that_is_still_where_the_scan_saw_it_tells_the_owner_of_a_new_namespace_at_once(node: Node) -> None:
    node.proc.start(30, POD, f"/docker/{ID}")
    assert node.lookup(OTHER, COOKIE).pod == f"ns{OTHER}"  # this one scans
    node.clock.now += SEARCH_EVERY_S / 2
    assert node.lookup(POD, NEXT_COOKIE).pod == ID[:12]


def test_the_numbers_of_a_namespace_are_not_given_to_the_next_with_its_number(node: Node) -> None:
    """Which came between the walk, whose process has ended, and the scan."""
    node.proc.start(31, POD, f"/docker/{ID}")
    gone = Live(POD, COOKIE, 30, ())
    assert node.registry.update([gone])[COOKIE].pod == f"ns{POD}"
    assert node.lookup(POD, COOKIE).pod == f"ns{POD}"
    assert node.update({POD: NEXT_COOKIE})[POD].pod == ID[:12]
    assert node.lookup(POD, COOKIE).pod == f"ns{POD}", "late events are nobody else's either"


def test_a_namespace_of_which_no_process_has_told_anything_is_sought_when_it_has_gone(node: Node) -> None:
    """Its only process ended before it was looked at, and the next comes after the walk."""
    node.registry.update([Live(POD, COOKIE, 12345, ())])
    node.update({HOST: 1})
    node.proc.start(31, POD, f"/docker/{ID}")
    node.clock.now += SEARCH_EVERY_S
    assert node.lookup(POD, COOKIE).pod == ID[:12]


def test_the_owner_of_a_known_namespace_stays_where_its_number_has_changed_hands(node: Node) -> None:
    """Between the walk and the scan: as above, but an update has seen the namespace before."""
    node.proc.start(30, POD, "/docker/" + ID)
    known = node.update({POD: COOKIE, HOST: 1})[POD]
    node.proc.end(30)
    node.proc.start(32, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.clock.now += 1
    assert node.registry.update([Live(POD, COOKIE, 31, ())])[COOKIE] == known


def test_a_process_of_another_pod_that_passes_by_does_not_own_a_namespace(node: Node) -> None:
    """A CNI plugin that is a pod itself, say, which is alone in the namespace while it sets it up."""
    passer_by, own = (f"/kubepods/pod{uid}-ef60-4b67-9e2b-1bbcaa1ecd21" for uid in ("aaaaaaaa", "bbbbbbbb"))
    node.proc.start(30, POD, f"{passer_by}/{ID}")
    before = node.update({POD: COOKIE})[POD]
    assert before.pod_uid.startswith("aaaaaaaa")
    node.proc.end(30)
    node.proc.start(31, POD, f"{own}/{SANDBOX}")
    node.clock.now += 1
    after = node.update({POD: COOKIE})[POD]
    assert after.pod_uid.startswith("bbbbbbbb")
    assert after.start_ns == before.start_ns


def test_a_pod_that_ends_keeps_its_namespace_while_others_clear_up(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update({POD: COOKIE})[POD]
    node.proc.end(30)
    node.proc.start(31, POD, "/system.slice/containerd.service")
    for _ in range(3):
        node.clock.now += SETTLING_S
        assert node.update({POD: COOKIE})[POD] == pod


def test_scans_of_updates_count_for_a_namespace_that_is_sought(node: Node) -> None:
    """Where updates come so often that no search may scan, an update's scan after the first event tells the owner."""
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.proc.start(40, OTHER)
    node.update({POD: COOKIE, OTHER: 40})
    node.proc.end(30)
    node.proc.start(31, POD, f"/docker/{ID}")
    owners = []
    for _ in range(2):
        node.clock.now += SEARCH_EVERY_S / 2
        owners.append(node.lookup(POD, NEXT_COOKIE).pod)
        node.clock.now += SEARCH_EVERY_S / 2
        node.registry.update(walked({OTHER: [40]}, {OTHER: 40}))
    assert owners == [f"ns{POD}", ID[:12]]


def test_an_event_from_before_the_owner_of_its_number_is_not_his(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.update({POD: NEXT_COOKIE})
    node.clock.now += SEARCH_EVERY_S
    assert node.lookup(POD, COOKIE).pod == f"ns{POD}"


def test_late_events_go_to_the_departed_by_cookie_whoever_has_the_number_now(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    first = node.update({POD: COOKIE})[POD]
    node.proc.end(30)
    node.proc.start(31, POD, f"/docker/{ID}")
    second = node.update({POD: NEXT_COOKIE})[POD]
    assert (node.lookup(POD, COOKIE), node.lookup(POD, NEXT_COOKIE)) == (first, second)
    node.clock.now += DEPARTED_S
    node.update({POD: NEXT_COOKIE})
    assert node.lookup(POD, COOKIE).pod == f"ns{POD}"


def test_a_namespace_is_the_same_by_its_cookie_when_its_witness_has_ended(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    node.proc.start(31, POD, f"{POD_CGROUP}/{ID}")
    first = node.update({POD: COOKIE})[POD]
    node.proc.end(30)
    assert node.update({POD: COOKIE})[POD] == first


def test_the_host_is_known_before_its_cookie_is(node: Node) -> None:
    host = node.lookup(HOST, COOKIE)
    assert host.kind is EntityKind.HOST
    assert node.update({HOST: COOKIE})[HOST] == node.lookup(HOST, COOKIE) == replace(host, netns_cookie=COOKIE)


def test_events_with_cookies_find_their_owner_if_the_walk_has_none(node: Node) -> None:
    node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
    pod = node.update()[POD]
    assert node.lookup(POD, COOKIE) == pod
    node.proc.end(30)
    node.update()
    assert node.lookup(POD, COOKIE) == pod


def test_an_update_during_a_search_is_not_undone_by_what_that_found(
    tmp_path: Path,
) -> None:
    """It finds nobody yet, while the owner comes and goes; what happens late is still his."""
    meeting, naming = Meeting(), EntityNaming()
    with meeting.watching_locks():
        node = Node.below(tmp_path, naming)
    node.update({HOST: 1})
    node.clock.now += SEARCH_EVERY_S

    def label_slowly(entity: Entity, _: Pod | None) -> Labelled:
        if entity.netns == POD:
            meeting.hold()
        return Labelled(())

    def come_and_go() -> None:
        node.proc.start(30, POD, f"{POD_CGROUP}/{SANDBOX}")
        node.update({HOST: 1, POD: COOKIE})
        node.proc.end(30)
        node.update({HOST: 1})

    naming.label_by(label_slowly)
    meeting.of(lambda: node.lookup(POD, COOKIE), come_and_go)
    assert node.lookup(POD, COOKIE).container_id == SANDBOX


class Containers(RuleBasedStateMachine):
    """Containers that come and go, two at a time, each in a namespace with the number that another had.

    The process of each is its only one; its pid is the namespace's cookie and the container's id.
    """

    numbers = st.sampled_from((POD, OTHER))

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.node = Node.below(Path(self.directory.name))
        self.cookie = 100
        self.living: dict[int, int] = {}
        self.updated: dict[int, int] = {}
        self.departed: dict[int, tuple[int, float]] = {}

    def owner(self, number: int, cookie: int) -> int:
        """Cookie of the namespace to whose container an event is given, 0 for none."""
        return int(self.node.lookup(number, cookie).container_id or 0)

    @rule(number=numbers)
    def start(self, number: int) -> None:
        """Start a container, in place of the one that has this number."""
        self.end(number)
        self.cookie += 1
        self.living[number] = self.cookie
        self.node.proc.start(self.cookie, number, f"/docker/{self.cookie:064}")

    @rule(number=numbers)
    def end(self, number: int) -> None:
        """End the container that has this number."""
        if number in self.living:
            self.node.proc.end(self.living.pop(number))

    @rule(seconds=st.sampled_from((SEARCH_EVERY_S / 3, SEARCH_EVERY_S, SEARCH_AGAIN_S)))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.node.clock.now += seconds

    @rule()
    def update(self) -> None:
        """Each container that lives is known then, each that was known and is gone has departed."""
        entities = self.node.update({HOST: 1} | self.living)
        end = self.node.clock.now + DEPARTED_S
        gone = self.updated.keys() - self.living.values()
        self.departed |= {cookie: (self.updated[cookie], end) for cookie in gone}
        self.updated = {cookie: number for number, cookie in self.living.items()}
        assert all(int(entities[number].container_id) == cookie for number, cookie in self.living.items())

    @rule(number=numbers)
    def event_of_a_living_one_is_its_own_or_nobodys(self, number: int) -> None:
        """Whether an update has seen it or not."""
        if number in self.living:
            assert self.owner(number, self.living[number]) in (0, self.living[number])

    @invariant()
    def events_of_known_ones_are_their_own(self) -> None:
        """Whether they still live or not."""
        assert all(self.owner(number, cookie) == cookie for cookie, number in self.updated.items())

    @invariant()
    def late_events_are_of_the_departed(self) -> None:
        """Whoever has the number now."""
        for cookie, (number, end) in self.departed.items():
            assert self.node.clock.now >= end or self.owner(number, cookie) == cookie

    def teardown(self) -> None:
        """Delete the files."""
        self.directory.cleanup()


TestContainers = Containers.TestCase
TestContainers.settings = settings(deadline=None, stateful_step_count=25)


# --- The kernel's


SO_NETNS_COOKIE = 71
"""Option of sockets since Linux 5.14 (include/uapi/asm-generic/socket.h); Python has no name for it."""


def cookie_of(namespace: Namespace) -> int:
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        cookie = any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int.from_bytes(cookie, sys.byteorder)


@pytest.fixture
def walk() -> Iterator[KernelWalk]:
    walk = KernelWalk(KernelFacts.find(OBJECTS))
    yield walk
    walk.close()


def test_the_walk_gives_the_cookie_that_a_socket_has(walk: KernelWalk, netns: Namespace) -> None:
    assert {each.inode: each.cookie for each in walk.take()}[netns.inode] == cookie_of(netns)


def test_a_number_used_again_has_the_new_owner_at_once_and_the_old_one_by_its_cookie(walk: KernelWalk) -> None:
    registry = Registry()
    with new_cgroup(f"docker/{ID}") as cgroup, ExitStack() as containers:
        cookies = {}
        for _ in range(SEVERAL):
            container = containers.enter_context(Namespace())
            move(container.pid, cgroup)
            cookies[container.inode] = cookie_of(container)
        entities = registry.update(walk.take())
    with namespace_with_one_of(cookies) as new:
        number, cookie = new.inode, cookie_of(new)
        assert registry.lookup(number, cookie).pod == f"ns{number}"
        eventually(lambda: registry.lookup(number, cookie).start_ns)  # found by its process
        assert registry.lookup(number, cookies[number]) == entities[cookies[number]]
        assert entities[cookies[number]].container_id == ID


def test_the_snapshot_after_a_number_was_used_again_speaks_of_the_new_namespace_alone() -> None:
    """Its row of numbers begins at 0, and the list of entities has the old owner no more."""
    access = find_kernel_access()
    with (
        contextlib.closing(access.walk.walk) as walk,
        collected(catalogue()["udp"], access) as udp,
        new_cgroup(f"docker/{ID}") as cgroup,
        ExitStack() as containers,
    ):
        collector = Collector(walk, Registry(), {"udp": udp.probe}, [], interval_s=1)
        old = [containers.enter_context(Namespace()) for _ in range(SEVERAL)]
        for each in old:
            move(each.pid, cgroup)
            with datagram(loopback(each).client, Family.IPV4) as sender:
                sender.sendto(b"x", sender.getsockname())
        before = collector.collect()
        containers.close()
        with namespace_with_one_of([each.inode for each in old]) as new:
            after = collector.collect()
            (table,) = after.tables
            sent = [each.name for each in table.series].index("inspector_pod_udpoutdatagrams")
            [gone] = [each for each in before.entities.values() if each.netns == new.inode]
            cookie = cookie_of(new)
            assert before.tables[0].rows[gone.netns_cookie, ()][sent] == 1
            assert table.rows[cookie, ()][sent] == 0
            assert gone.container_id == ID
            assert after.entities[cookie].pod == f"ns{new.inode}"
            assert gone.netns_cookie not in after.entities
            assert ID not in {each.container_id for each in after.entities.values()}


def test_the_name_of_a_namespace_is_not_given_to_the_one_that_had_its_number_before() -> None:
    """That one the walk has met, but its process has ended when the names are read."""
    with Namespace(f"netagent-test-{os.getpid()}") as new, Namespace() as old:
        old.close()
        gone = Live(new.inode, COOKIE, old.pid, ())
        assert Registry().update([gone])[COOKIE].pod == f"ns{new.inode}"


def test_no_event_of_twenty_has_the_name_of_a_namespace_that_only_a_scan_has_seen() -> None:
    """Deleted, and its number used again, within a second of the scan: neither its name nor its container."""
    clock = Clock()
    registry = Registry(clock=clock)
    with new_cgroup(f"docker/{ID}") as cgroup, ExitStack() as alive:
        old = [alive.enter_context(Namespace(f"netagent-test-{os.getpid()}-{n}")) for n in range(40)]
        for each in old[::2]:
            move(each.pid, cgroup)
        registry.lookup(1, 1)  # scans
    clock.now += SEARCH_EVERY_S / 2
    with namespaces_with_some_of([each.inode for each in old], 20) as new:
        assert [registry.lookup(each.inode, cookie_of(each)).pod for each in new] == [f"ns{each.inode}" for each in new]


def seen_by_events(registry: Registry, namespaces: Sequence[Namespace]) -> None:
    for each in namespaces:
        assert registry.lookup(each.inode, cookie_of(each)).pod.startswith("netagent-test")


def seen_by_events_without_process(registry: Registry, namespaces: Sequence[Namespace]) -> None:
    cookies = {each.inode: cookie_of(each) for each in namespaces}
    for each in namespaces:
        os.kill(each.pid, signal.SIGKILL)
    eventually(lambda: not cookies.keys() & processes.by_netns().keys())
    for each in namespaces:
        assert registry.lookup(each.inode, cookies[each.inode]).pod.startswith("netagent-test")


def seen_by_an_update_and_gone_in_the_next(registry: Registry, namespaces: Sequence[Namespace]) -> None:
    host = Live(Path("/proc/self/ns/net").stat().st_ino, 1, os.getpid(), ())
    registry.update([host, *(Live(each.inode, cookie_of(each), each.pid, ()) for each in namespaces)])
    registry.update([host])


@pytest.mark.parametrize(
    "seen", [seen_by_events, seen_by_events_without_process, seen_by_an_update_and_gone_in_the_next]
)
def test_the_name_of_a_deleted_namespace_is_not_that_of_the_next_with_its_number(
    seen: Callable[[Registry, Sequence[Namespace]], None],
) -> None:
    clock = Clock()
    registry = Registry(clock=clock)
    with ExitStack() as alive:
        named = [alive.enter_context(Namespace(f"netagent-test-{os.getpid()}-{n}")) for n in range(SEVERAL)]
        seen(registry, named)
    clock.now += SEARCH_EVERY_S / 2
    with namespace_with_one_of([each.inode for each in named]) as other:
        assert registry.lookup(other.inode, cookie_of(other)).pod == f"ns{other.inode}"
