"""The counters of IP, ICMP and the rest: each is declared once, and is what the kernel's own tables show."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from lab.counters import counters
from lab.links import Pair, Router
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel import namespaces
from otel_netagent.kernel.mibs import MibField
from otel_netagent.kernel.namespaces import CONNTRACK, QUEUES, SOCKETS, KernelWalk, NamespaceWalk, ProcfsWalk
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import ip, mib, tcp, tcpext, udp
from otel_netagent.probing.declaration import Environment, WalkAccess
from tests.probes.collected import Collected, changes, silence
from tests.probes.test_catalogue import SPECIFICATION

PROBES = {module.PROBE.name: module.PROBE for module in (tcp, tcpext, udp, ip, mib)}
SETTINGS = {("Tcp", name) for name in ("RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn")}


@pytest.fixture(params=[KernelWalk.way, ProcfsWalk.way])
def walk(request: pytest.FixtureRequest, access: KernelAccess) -> NamespaceWalk:
    """Each walk in turn."""
    return ProcfsWalk() if request.param == ProcfsWalk.way else access.walk.walk


@contextlib.contextmanager
def running(name: str, walk: NamespaceWalk) -> Iterator[Collected]:
    environment = Environment(None, "not asked for", WalkAccess(walk))
    with contextlib.closing(PROBES[name].start(environment)) as probe:
        yield Collected(probe, walk)


def values(name: str, walk: NamespaceWalk, namespace: Namespace) -> dict[str, int]:
    with running(name, walk) as probe:
        return probe.rows()[namespace.inode]


def test_every_counter_of_this_kernel_is_declared_once(access: KernelAccess) -> None:
    fields = Counter(tuple(each.source.split()[1:]) for probe in PROBES.values() for each in probe.series)
    fields["TcpExt", "PAWSEstab"] -= 1  # also under the name that the original gave it
    assert {field for field, count in fields.items() if count > 1} == set()
    mibs = {field for field in access.walk.walk.positions if field[0] not in {CONNTRACK, QUEUES, SOCKETS}}
    assert mibs - fields.keys() == SETTINGS


@dataclass(frozen=True, slots=True)
class MadeUpWalk:
    """One namespace, in which each of these counters has another number."""

    fields: Sequence[MibField]
    way: str = "made up"

    @property
    def positions(self) -> Mapping[MibField, int]:
        """In their order."""
        return {field: position for position, field in enumerate(self.fields)}

    def take(self) -> list[namespaces.Namespace]:
        """The one."""
        return [namespaces.Namespace(1, 1, 1, range(100, 100 + len(self.fields)))]

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("name", ["tcp", "tcpext", "udp"])
def test_each_series_shows_the_counter_that_it_is_specified_to_show(name: str) -> None:
    specified = {row.name: tuple(row.source.split()[1:]) for row in SPECIFICATION if row.probe == name}
    fields = [(protocol, counter) for protocol, counter in dict.fromkeys(specified.values())]
    with running(name, MadeUpWalk(fields)) as probe:
        told = probe.rows()[1]
    assert {name: told[name.removeprefix("inspector_pod_")] for name in specified} == {
        name: 100 + fields.index((protocol, counter)) for name, (protocol, counter) in specified.items()
    }


def shown_by_procfs(namespace: Namespace) -> dict[str, int]:
    """Counters by the name that a series of theirs has."""
    tables = counters(namespace).items()
    return {name.replace(".", "").replace("IpExt", "Ip").lower(): value for name, value in tables}


def test_all_are_what_procfs_shows(walk: NamespaceWalk, pair: Pair) -> None:
    namespace = pair.server.namespace
    for family in Family:
        with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
            for _ in range(5):
                sender.sendto(b"x", reader.getsockname())

    def at_one_moment() -> tuple[dict[str, int], dict[str, int]] | None:
        before, told = shown_by_procfs(namespace), values("mib", walk, namespace)
        return ({name: before[name] for name in told}, told) if shown_by_procfs(namespace) == before else None

    both = eventually(at_one_moment)  # IPv6 has traffic of its own: multicast reports
    assert both is not None
    shown, told = both
    assert told == shown
    assert told["ip6indelivers"] >= 5


def echo(pair: Pair, family: Family, count: int) -> None:
    """Ask for echoes, and take them."""
    protocol = socket.IPPROTO_ICMPV6 if family is Family.IPV6 else socket.IPPROTO_ICMP
    kind = 128 if family is Family.IPV6 else 8
    with pair.client.namespace.socket(family.sockets, socket.SOCK_RAW, protocol) as raw:
        for number in range(count):
            body = struct.pack("!HH", os.getpid() & 0xFFFF, number)
            checksum = 0 if family is Family.IPV6 else ~sum(struct.unpack("!HHH", struct.pack("!BB", kind, 0) + body))
            folded = (checksum & 0xFFFF) - ((~checksum >> 16) & 0xFFFF)
            raw.sendto(struct.pack("!BBH", kind, 0, folded & 0xFFFF) + body, (pair.server.address(family), 0))


@pytest.mark.parametrize(("family", "prefix"), [(Family.IPV4, "icmp"), (Family.IPV6, "icmp6")])
def test_echoes_are_counted_by_type(walk: NamespaceWalk, pair: Pair, family: Family, prefix: str) -> None:
    server = pair.server.namespace
    silence(server)
    before = values("mib", walk, server)
    echo(pair, family, 6)
    reply = "outechoreplies" if family is Family.IPV6 else "outechoreps"
    eventually(lambda: values("mib", walk, server)[prefix + reply] >= 6)
    moved = changes(before, values("mib", walk, server))
    ours = {name: change for name, change in moved.items() if name.startswith(prefix)}
    assert ours == {prefix + name: 6 for name in ("inmsgs", "inechos", "outmsgs", reply)}


def test_packets_without_a_route_are_counted_where_they_came_in(walk: NamespaceWalk, router: Router) -> None:
    with datagram(router.client, Family.IPV4) as sender:
        before = values("ip", walk, router.namespace)
        for _ in range(4):
            sender.sendto(b"x", ("203.0.113.9", 9))
        assert changes(before, values("ip", walk, router.namespace)) == {"ipinnoroutes": 4}
