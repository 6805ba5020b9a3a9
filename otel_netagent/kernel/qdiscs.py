"""Root queueing disciplines of a namespace's devices, via rtnetlink (net/sched/sch_api.c)."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from otel_netagent.kernel.netlink import MalformedMessage, attributes, dump_route

_GET: Final = 38  # RTM_GETQDISC
_TCMSG: Final = struct.Struct("=BxxxiIII")  # family, interface index, handle, parent, info
_ROOT: Final = 0xFFFFFFFF  # TC_H_ROOT
_LOOPBACK: Final = 1  # LOOPBACK_IFINDEX, the same in every namespace
_STATS2: Final = 7  # TCA_STATS2, and in it:
_BASIC, _QUEUE, _PACKETS64 = 1, 3, 8  # TCA_STATS_BASIC, TCA_STATS_QUEUE, TCA_STATS_PKT64
_BASIC_LAYOUT: Final = struct.Struct("=QI")  # bytes, packets
_QUEUE_LAYOUT: Final = struct.Struct("=IIIII")  # qlen, backlog, drops, requeues, overlimits
_PACKETS64_LAYOUT: Final = struct.Struct("=Q")

QdiscId: TypeAlias = tuple[int, int]
"""(index of the device, handle of the qdisc)"""


class Qdisc(NamedTuple):
    """What a qdisc has sent and dropped since it exists, and what waits in it now (`backlog` in bytes)."""

    bytes: int
    packets: int
    drops: int
    overlimits: int
    qlen: int
    backlog: int


def root_qdiscs() -> dict[QdiscId, Qdisc]:
    """The root qdisc of each device, but lo, of the namespace that the calling thread is in.

    One that has children (mq) shows their sum. Raises OSError where the kernel refuses, MalformedMessage.
    """
    while True:
        with contextlib.suppress(InterruptedError):  # devices came or went meanwhile
            return parse_root_qdiscs(dump_route(_GET, _TCMSG.pack(0, 0, 0, 0, 0)))


def parse_root_qdiscs(messages: Iterable[memoryview]) -> dict[QdiscId, Qdisc]:
    """Root qdiscs among the messages of an answer, without lo's. Raises MalformedMessage."""
    found: dict[QdiscId, Qdisc] = {}
    for message in messages:
        try:
            _, device, handle, parent, _ = _TCMSG.unpack_from(message)
            if parent == _ROOT and device != _LOOPBACK:
                found[device, handle] = _statistics(attributes(attributes(message[_TCMSG.size :])[_STATS2]))
        except (struct.error, KeyError) as error:
            raise MalformedMessage(f"netlink: a qdisc without its statistics: {error!r}") from error
    return found


def _statistics(stats: dict[int, memoryview]) -> Qdisc:
    length, packets = _BASIC_LAYOUT.unpack_from(stats[_BASIC])
    if _PACKETS64 in stats:  # 5.5 (b33e699fe43a): a separate attribute, where 32 bits do not hold them
        (packets,) = _PACKETS64_LAYOUT.unpack_from(stats[_PACKETS64])
    qlen, backlog, drops, _, overlimits = _QUEUE_LAYOUT.unpack_from(stats[_QUEUE])
    return Qdisc(bytes=length, packets=packets, drops=drops, overlimits=overlimits, qlen=qlen, backlog=backlog)
