"""Three exact ways to read the device counters of many namespaces; the probe netdev takes the first.

    .venv/bin/python -m bench.netdev --namespaces 100

Netlink's answers are received but not read, so that parsing them would come on top.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Sequence

import click

from bench.measuring import cpu_cost, print_costs
from bench.needs import require_root
from bench.pods import pods
from lab.namespace import Namespace
from otel_netagent.kernel import netlink
from otel_netagent.kernel.entering import Visit
from otel_netagent.kernel.proc import files, net_dev

_NETLINK_ROUTE = 0
_RTM_GETLINK, _RTM_NEWNSID, _RTM_GETNSID, _RTM_GETSTATS = 18, 88, 90, 94
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NETNSA_NSID, _NETNSA_PID = 1, 2
_ANY = -1
_IFLA_EXT_MASK, _IFLA_TARGET_NETNSID = 29, 46
_RTEXT_FILTER_SKIP_STATS = 1 << 3
_STATS_LINK_64 = 1
_CODE = struct.Struct("=i")


@click.command()
@click.option("--namespaces", default=100, show_default=True, help="Network namespaces to make.")
@click.option("--rounds", default=20, show_default=True, help="Measurements of each way.")
def main(namespaces: int, rounds: int) -> None:
    """Print what each way costs."""
    require_root("ip")
    with pods(namespaces) as made, route_socket() as host:
        pids = [pod.pid for pod in made]
        ids = assign_ids(host, pids)
        ways = {
            "/proc/PID/net/dev, parsed": lambda: [
                net_dev.parse_net_dev(files.read_net(pid, "dev") or "") for pid in pids
            ],
            "/proc/PID/net/dev, read only": lambda: [files.read_net(pid, "dev") for pid in pids],
            "setns and RTM_GETSTATS": lambda: _from_within(made),
            "RTM_GETLINK by namespace id": lambda: _dump_links(host, ids),
        }
        print_costs(
            f"CPU of the device counters of {namespaces} namespaces",
            cpu_cost(ways, rounds),
            "/proc/PID/net/dev, parsed",
        )


def route_socket() -> socket.socket:
    """A socket of rtnetlink(7), which asks the namespace of the calling thread."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)


def _request(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST | flags, 1, 0) + body


def _attribute(kind: int, value: int) -> bytes:
    return struct.pack("=HHi", 8, kind, value)


def _ask(host: socket.socket, request: bytes) -> list[memoryview]:
    """Send a request and take the whole answer: its messages, without their headers. Raises OSError."""
    host.send(request)
    messages: list[memoryview] = []
    while True:
        for kind, _, payload in netlink.split(host.recv(1 << 16)):
            if kind == _NLMSG_ERROR and (code := -_CODE.unpack_from(payload)[0]):
                raise OSError(code, f"netlink: {os.strerror(code)}")
            if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
                return messages
            messages.append(payload)


def assign_ids(host: socket.socket, pids: Sequence[int]) -> list[int]:
    """Let the kernel choose an id of each namespace in ours, by which it can be asked from here.

    Others on this machine may have ids too: none is chosen for them.
    """
    return [_assigned_id(host, pid) for pid in pids]


def _assigned_id(host: socket.socket, pid: int) -> int:
    of_pid = struct.pack("=B3x", socket.AF_UNSPEC) + _attribute(_NETNSA_PID, pid)
    with contextlib.suppress(FileExistsError):
        _ask(host, _request(_RTM_NEWNSID, _NLM_F_ACK, of_pid + _attribute(_NETNSA_NSID, _ANY)))
    [answer] = _ask(host, _request(_RTM_GETNSID, _NLM_F_ACK, of_pid))
    return int(_CODE.unpack(netlink.attributes(answer[4:])[_NETNSA_NSID])[0])


def _dump_links(host: socket.socket, ids: Sequence[int]) -> None:
    for number in ids:
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
        body += _attribute(_IFLA_TARGET_NETNSID, number) + _attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
        _ask(host, _request(_RTM_GETLINK, _NLM_F_DUMP, body))


def _from_within(made: Sequence[Namespace]) -> None:
    """Enter each namespace and ask there. Nothing of it is kept: an open socket would keep the namespace alive."""
    request = _request(_RTM_GETSTATS, _NLM_F_DUMP, struct.pack("=BxHII", socket.AF_UNSPEC, 0, 0, _STATS_LINK_64))
    with Visit() as visit:
        for pod in made:
            visit.enter(pod.pid, pod.inode)
            with route_socket() as there:
                _ask(there, request)


if __name__ == "__main__":
    main()
