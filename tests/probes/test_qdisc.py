"""Root qdiscs are told as tc(8) tells them in the namespace, and nothing of the agent stays there."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Pair, joined_pair
from lab.namespace import Namespace
from lab.sockets import datagram
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel.netlink import MalformedMessage, attributes, dump_route, split
from otel_netagent.kernel.qdiscs import Qdisc, parse_root_qdiscs
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import qdisc
from tests.probes.collected import Collected, changes, collected, silence, without_walk
from tests.probes.reading import KERNEL, WAYS


@pytest.fixture(params=WAYS)
def probe(request: pytest.FixtureRequest, access: KernelAccess) -> Iterator[Collected]:
    with collected(qdisc.PROBE, access if request.param == KERNEL else without_walk(access)) as probe:
        yield probe


def of_tc(namespace: Namespace) -> dict[str, int]:
    """Sums over the root qdiscs of all devices but lo, by tc(8)."""
    listed = json.loads(namespace.command("tc", "-s", "-j", "qdisc"))
    roots = [each for each in listed if each.get("root") and each["dev"] != "lo"]
    return {
        f"qdisc{name}": sum(each[name] for each in roots)
        for name in ("bytes", "packets", "drops", "overlimits", "qlen", "backlog")
    }


def limit(pair: Pair, rate: str) -> None:
    """Let the client's device send at this rate, hold 3,000 bytes back, and carry nothing but what the test sends."""
    silence(pair.client.namespace)
    pair.client.namespace.command(
        *f"tc qdisc replace dev {pair.client.device} root tbf rate {rate} burst 1600 limit 3000".split()
    )


def send(pair: Pair, count: int, family: Family = Family.IPV4) -> None:
    """Send datagrams of 1,000 bytes, more than the queue holds."""
    with datagram(pair.server, family) as reader, datagram(pair.client, family) as sender:
        for _ in range(count):
            sender.sendto(bytes(1000), reader.getsockname())


@pytest.mark.parametrize("family", Family)
def test_a_full_queue_drops_and_holds_what_tc_says(probe: Collected, pair: Pair, family: Family) -> None:
    limit(pair, "8bit")
    before = probe.rows()
    send(pair, 10, family)
    after = probe.rows()
    namespace = pair.client.namespace
    size = 1000 + 8 + 14 + (40 if family is Family.IPV6 else 20)
    moved = changes(before[namespace.inode], after[namespace.inode])
    assert moved.pop("qdiscoverlimits") > 0
    assert moved == {
        "qdiscpackets": 1,
        "qdiscbytes": size,
        "qdiscqlen": 2,
        "qdiscbacklog": 2 * size,
        "qdiscdrops": 7,
    }
    assert after[namespace.inode] == of_tc(namespace)
    assert changes(before[pair.server.namespace.inode], after[pair.server.namespace.inode]) == {}


def test_what_a_replaced_qdisc_counted_stays(probe: Collected, pair: Pair) -> None:
    namespace = pair.client.namespace
    limit(pair, "8bit")
    start = probe.rows()[namespace.inode]
    send(pair, 10)
    first = probe.rows()[namespace.inode]
    namespace.command("tc", "qdisc", "delete", "dev", pair.client.device, "root")
    between = probe.rows()[namespace.inode]
    limit(pair, "8bit")
    send(pair, 10)
    second = probe.rows()[namespace.inode]
    assert between["qdiscdrops"] == first["qdiscdrops"] == start["qdiscdrops"] + 7
    assert second["qdiscdrops"] == first["qdiscdrops"] + 7
    assert between["qdiscqlen"] == 0


def test_loopback_is_not_counted_and_a_namespace_without_devices_has_zeros(probe: Collected, netns: Namespace) -> None:
    netns.command("tc", "qdisc", "add", "dev", "lo", "root", "pfifo", "limit", "10")
    row = probe.rows()[netns.inode]
    assert row == dict.fromkeys(row, 0)


def test_the_thread_comes_home_and_the_namespaces_can_go(probe: Collected) -> None:
    home = os.readlink("/proc/thread-self/ns/net")  # noqa: PTH115 -- the text is the name of the namespace
    files = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- of numbers
    with joined_pair() as pair:
        assert pair.client.namespace.inode in probe.rows()
        assert os.readlink("/proc/thread-self/ns/net") == home  # noqa: PTH115
        pair.server.namespace.close()
        # With the namespace its end of the veth pair goes, and so does ours.
        eventually(lambda: pair.client.device not in pair.client.namespace.proc_net("dev"))
    assert sorted(os.listdir("/proc/self/fd")) == files  # noqa: PTH208
    assert Path("/proc/thread-self/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino


# --- Messages


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


words = st.integers(min_value=0, max_value=2**32 - 1)
qdiscs = st.builds(Qdisc, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), words, words, words, words)


def message(device: int, handle: int, parent: int, told: Qdisc) -> memoryview:
    """RTM_NEWQDISC as the kernel writes it: packets beside, where 32 bits do not hold them."""
    stats = attribute(1, struct.pack("=QI4x", told.bytes, told.packets % 2**32))
    if told.packets >= 2**32:
        stats += attribute(8, struct.pack("=Q", told.packets))
    stats += attribute(3, struct.pack("=IIIII", told.qlen, told.backlog, told.drops, 0, told.overlimits))
    body = attribute(1, b"tbf\0") + attribute(7 | 0x8000, stats)
    return memoryview(struct.pack("=BxxxiIII", 0, device, handle, parent, 0) + body)


@given(st.lists(st.tuples(st.integers(1, 9), words, st.sampled_from([2**32 - 1, 0xFFFFFFF1, 0x10001]), qdiscs)))
def test_any_answer_is_read_back(told: list[tuple[int, int, int, Qdisc]]) -> None:
    expected = {(device, handle): each for device, handle, parent, each in told if parent == 2**32 - 1 and device != 1}
    assert parse_root_qdiscs(message(*each) for each in told) == expected


@pytest.mark.parametrize(
    "read", [split, lambda noise: attributes(memoryview(noise)), lambda noise: parse_root_qdiscs([memoryview(noise)])]
)
@given(noise=st.binary())
def test_no_bytes_break_the_parsers(read: Callable[[bytes], Iterable[object]], noise: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        list(read(noise))


def test_a_request_that_the_kernel_refuses_says_so() -> None:
    with pytest.raises(OSError, match="netlink: Operation not supported"):
        dump_route(0xFFF, bytes(20))
