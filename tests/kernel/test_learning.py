"""What the walk in the kernel tells beside MIBs is what procfs shows, and tc(8)."""

from __future__ import annotations

import contextlib
import functools
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.links import Pair, loopback
from lab.namespace import Namespace
from lab.sockets import datagram, listening
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.learning import learn_conntrack, learn_sockets
from otel_netagent.kernel.namespaces import CONNTRACK, QUEUES, SOCKETS, KernelWalk
from otel_netagent.kernel.proc.conntrack import Conntrack, parse_conntrack
from otel_netagent.kernel.proc.sockstat import parse_sockstat
from tests.kernel.fixtures import CompileBpf

TRACKING = """
table inet tracking {
    chain output { type filter hook output priority 0; ct state invalid counter; }
    chain input { type filter hook input priority 0; ct state invalid drop; }
}
"""


@pytest.fixture(scope="module")
def walk(kernel: KernelFacts) -> Iterator[KernelWalk]:
    with contextlib.closing(KernelWalk(kernel)) as walk:
        yield walk


def told(walk: KernelWalk, part: str, namespace: Namespace) -> dict[str, int]:
    """Numbers of one part that the walk tells of a namespace now."""
    counters = next(each.counters for each in walk.take() if each.inode == namespace.inode)
    return {name: counters[position] for (of, name), position in walk.positions.items() if of == part}


def shown_sockets(namespace: Namespace) -> dict[str, int]:
    tables = parse_sockstat(namespace.proc_net("sockstat")) | parse_sockstat(namespace.proc_net("sockstat6"))
    return {"tcp": tables["TCP"]["inuse"], "tcp6": tables["TCP6"]["inuse"], "time_wait": tables["TCP"]["tw"]}


def shown_conntrack(namespace: Namespace) -> dict[str, int]:
    return parse_conntrack(namespace.proc_net("stat/nf_conntrack"))._asdict()


def exchange(pair: Pair, family: Family, connections: int) -> None:
    """Connections that the client closes first, so that it keeps them in TIME_WAIT."""
    with listening(pair.server, family) as listener:
        for _ in range(connections):
            with pair.client.namespace.socket(family.sockets, socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                server, _ = listener.accept()
                client.close()
                assert server.recv(1) == b""
                server.close()


def test_sockets_are_those_of_sockstat(walk: KernelWalk, pair: Pair) -> None:
    namespace = pair.client.namespace
    exchange(pair, Family.IPV4, 3)
    exchange(pair, Family.IPV6, 4)
    with contextlib.ExitStack() as held:
        for family, count in ((Family.IPV4, 5), (Family.IPV6, 6)):
            for _ in range(count):
                held.enter_context(listening(loopback(namespace).server, family))
        eventually(lambda: shown_sockets(namespace) == {"tcp": 5, "tcp6": 6, "time_wait": 7})
        assert told(walk, SOCKETS, namespace) == shown_sockets(namespace)
    assert told(walk, SOCKETS, namespace) == {"tcp": 0, "tcp6": 0, "time_wait": 7}


def test_conntrack_is_that_of_its_table(walk: KernelWalk, pair: Pair) -> None:
    namespace = pair.client.namespace
    namespace.command("nft", "-f", "-", stdin=TRACKING)
    exchange(pair, Family.IPV4, 5)
    with datagram(pair.server, Family.IPV6) as reader, datagram(pair.client, Family.IPV6) as sender:
        sender.sendto(b"x", reader.getsockname())
    with pair.server.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        for _ in range(3):
            sender.sendto(bytes(2), (pair.client.ipv4, 0))  # too short for an ICMP header

    def agreed() -> dict[str, int] | None:
        before, walked = shown_conntrack(namespace), told(walk, CONNTRACK, namespace)
        return walked if before == walked == shown_conntrack(namespace) else None

    walked = eventually(agreed)
    assert walked is not None
    assert tuple(walked) == Conntrack._fields
    assert walked["entries"] >= 6
    assert walked["invalid"] + walked["icmp_error"] >= 3


_ADDS_MADE_UP_STATISTICS = """
#include "conntrack.h"

__u32 statistics[STATISTICS_WORDS];
__u64 added[sizeof(struct conntrack_counters) / 8];
const struct conntrack_counters *layout __attribute__((unused));

SEC("raw_tp")
int add_made_up_statistics(void *context)
{
	conntrack_statistics = (__u64)statistics;
	add_conntrack((struct conntrack_counters *)added, 0);
	return 0;
}
"""


def test_each_member_of_the_kernels_statistics_is_told_by_its_own_name(
    kernel: KernelFacts, compile_bpf: CompileBpf
) -> None:
    """All have different values here: most of them nobody can cause in one namespace."""
    _, kernels = kernel.btf.structure("ip_conntrack_stat")
    with BpfObject(compile_bpf(_ADDS_MADE_UP_STATISTICS), ("add_made_up_statistics",), kernel.custom_btf) as bpf_object:
        bpf_object.load()
        for number, member in enumerate(kernels, start=100):
            bpf_object.variable("statistics")[member.offset // 4] = number
        bpf_object.run("add_made_up_statistics")
        _, ours = bpf_object.btf.structure("conntrack_counters")
        told = {member.name: bpf_object.variable("added")[member.offset // 8] for member in ours}
    statistics = {member.name: number for number, member in enumerate(kernels, start=100)}
    names = {name: "error" if name == "icmp_error" else name for name in told if name != "entries"}
    assert told == {"entries": 0} | {name: statistics.get(member, 0) for name, member in names.items()}


def test_a_queue_is_seen_where_tc_shows_one(walk: KernelWalk, pair: Pair, netns: Namespace) -> None:
    def has_queue(namespace: Namespace) -> bool:
        shown = json.loads(namespace.command("tc", "-j", "qdisc"))
        assert bool(told(walk, QUEUES, namespace)["any"]) == any(each["kind"] != "noqueue" for each in shown)
        return bool(told(walk, QUEUES, namespace)["any"])

    namespace, device = pair.client.namespace, pair.client.device
    assert not has_queue(namespace)
    namespace.command(*f"tc qdisc replace dev {device} root tbf rate 1mbit burst 1600 limit 3000".split())
    assert has_queue(namespace)
    assert not has_queue(pair.server.namespace)
    namespace.command("tc", "qdisc", "delete", "dev", device, "root")
    assert not has_queue(namespace)
    netns.command("ip", "link", "add", "down", "type", "veth", "peer", "name", "other")
    assert not has_queue(netns)


def test_where_nothing_is_tracked_nothing_is_learnt(kernel: KernelFacts, tmp_path: Path) -> None:
    """No such file: the module is not loaded. A file of another file system: what is found behind it fits nothing."""
    programs = ("learn_protocol", "learn_conntrack")
    other = tmp_path / "other"
    other.touch()
    with BpfObject(kernel.objects / "namespaces.bpf.o", programs) as bpf_object:
        bpf_object.load()
        assert learn_sockets(bpf_object)
        assert learn_conntrack(bpf_object)
        assert not learn_conntrack(bpf_object, tmp_path / "none")
        assert not learn_conntrack(bpf_object, other)


def test_a_module_that_is_loaded_later_is_learnt_of(
    kernel: KernelFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_yet = functools.partial(learn_conntrack, count=tmp_path / "none")
    monkeypatch.setattr("otel_netagent.kernel.namespaces.learn_conntrack", not_yet)
    with contextlib.closing(KernelWalk(kernel)) as walk:
        walk.take()
        assert CONNTRACK not in {part for part, _ in walk.positions}
        monkeypatch.undo()
        walk.take()
        assert [name for part, name in walk.positions if part == CONNTRACK] == list(Conntrack._fields)


def test_without_a_descriptor_for_a_socket_nothing_is_learnt(kernel: KernelFacts) -> None:
    """It is not taken for a kernel without IPv6, whose sockets need not be learnt."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with BpfObject(kernel.objects / "namespaces.bpf.o", ("learn_protocol",)) as bpf_object:
        bpf_object.load()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            learnt = learn_sockets(bpf_object)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not learnt
