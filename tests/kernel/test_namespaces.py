"""Both walks tell every network namespace once, with the very counters that procfs shows."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from lab.counters import counters
from lab.links import loopback
from lab.namespace import Namespace
from lab.sockets import close_with_reset, datagram, listening
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel import namespaces
from otel_netagent.kernel.bpf.bpf_object import BpfObject, IteratorLink
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.mibs import MibField
from otel_netagent.kernel.namespaces import KernelWalk, NamespaceWalk, ProcfsWalk
from otel_netagent.kernel.namespaces import Namespace as Walked
from otel_netagent.kernel.netns_cookies import NetnsCookies
from otel_netagent.kernel.proc.files import MalformedTable
from tests.interleaving import Meeting
from tests.kernel.held import held

SO_NETNS_COOKIE = 71
"""Linux 5.14, include/uapi/asm-generic/socket.h."""

PROTOCOLS = ("Tcp", "Udp", "TcpExt")


WALKS: Mapping[str, Callable[[KernelFacts], NamespaceWalk]] = {
    "iter/task": KernelWalk,
    "procfs, with cookies": lambda kernel: ProcfsWalk(cookies=NetnsCookies(kernel)),
    "procfs": lambda _kernel: ProcfsWalk(),
}


@pytest.fixture(scope="module", params=WALKS)
def walk(request: pytest.FixtureRequest, kernel: KernelFacts) -> Iterator[NamespaceWalk]:
    """Each walk in turn."""
    with contextlib.closing(WALKS[request.param](kernel)) as walk:
        yield walk


def inodes_of_procfs() -> set[int]:
    """Namespaces of all processes, found without any code of the agent."""
    inodes = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            inodes.add(link.stat().st_ino)
    return inodes


def find(walk: NamespaceWalk, namespace: Namespace) -> Walked | None:
    """What the walk tells of a namespace now."""
    return next((each for each in walk.take() if each.inode == namespace.inode), None)


def mibs(fields: Mapping[MibField, int], counters: Sequence[int]) -> dict[str, int]:
    """Counters of a walk by name, as words of 64 bits: of `Tcp.MaxConn` the kernel shows the word as -1."""
    return {
        f"{protocol}.{name}": counters[position] % 2**64
        for (protocol, name), position in fields.items()
        if protocol in PROTOCOLS
    }


def mibs_of_procfs(namespace: Namespace) -> dict[str, int]:
    """The same from procfs, read without any code of the agent."""
    return {name: value % 2**64 for name, value in counters(namespace).items() if name.partition(".")[0] in PROTOCOLS}


def both_at_one_moment(walk: NamespaceWalk, namespace: Namespace) -> tuple[dict[str, int], dict[str, int]]:
    """Counters as the walk and as procfs tell them while nothing changes: a delayed ACK may still be on its way."""

    def agreed() -> tuple[dict[str, int], dict[str, int]] | None:
        before = mibs_of_procfs(namespace)
        walked = find(walk, namespace)
        assert walked is not None
        return (mibs(walk.positions, walked.counters), before) if mibs_of_procfs(namespace) == before else None

    agreement = eventually(agreed)
    assert agreement is not None
    return agreement


# --- Which namespaces


def test_every_namespace_of_a_process_is_told_once(walk: NamespaceWalk, netns: Namespace) -> None:
    def undisturbed() -> tuple[set[int], list[int]] | None:
        before = inodes_of_procfs()
        walked = [each.inode for each in walk.take()]
        return (before, walked) if inodes_of_procfs() == before else None

    found = eventually(undisturbed)
    assert found is not None
    truth, walked = found
    assert Counter(walked) == Counter(truth)
    assert netns.inode in truth


def test_a_namespace_comes_with_its_first_process_and_goes_with_its_last(walk: NamespaceWalk) -> None:
    with Namespace() as netns:
        first = find(walk, netns)
        assert first is not None
        with netns.run(subprocess.Popen, ["cat"], stdin=subprocess.PIPE) as second:
            netns.close()
            then = find(walk, netns)
            assert then is not None
            assert (then.cookie, then.pid) == (first.cookie, second.pid)
    # Its inode's number may be another's by now.
    assert {netns.pid, second.pid}.isdisjoint(each.pid for each in walk.take())


def test_a_process_of_many_threads_is_one(walk: NamespaceWalk, netns: Namespace) -> None:
    program = "import threading\nfor _ in range(20): threading.Thread(target=input).start()\nprint(flush=True)"
    with netns.run(
        subprocess.Popen, [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # when all run
        assert [each.pid for each in walk.take() if each.inode == netns.inode] == [netns.pid]
        netns.close()
        assert [each.pid for each in walk.take() if each.inode == netns.inode] == [process.pid]
        process.kill()


def test_a_thread_of_another_namespaces_process_is_not_taken_for_a_process(
    walk: NamespaceWalk, netns: Namespace
) -> None:
    """Runtimes send threads into a pod's namespace. The process itself is elsewhere, and its /proc/PID/net too."""

    def told_while_a_thread_is_inside() -> tuple[int, Walked | None, Walked | None]:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            netns.close()  # so that the only process is younger than the thread
            told = find(walk, netns)
            process.kill()
            process.wait()
            return process.pid, told, find(walk, netns)

    pid, with_process, without = netns.run(told_while_a_thread_is_inside)
    assert with_process is not None
    assert with_process.pid == pid
    assert without is None


def test_many_namespaces_fill_the_buffer_several_times(walk: NamespaceWalk) -> None:
    """The kernel hands out 32 KiB at a time, which is the room of 16 namespaces: none falls between two reads."""
    with contextlib.ExitStack() as namespaces:
        many = [namespaces.enter_context(Namespace()) for _ in range(50)]
        for number, namespace in enumerate(many):
            send_to_itself(namespace, number)
        told = [each for each in walk.take() if each.inode in {namespace.inode for namespace in many}]
    sent = {each.inode: each.counters[walk.positions["Udp", "OutDatagrams"]] for each in told}
    assert sent == {namespace.inode: number for number, namespace in enumerate(many)}
    assert len(told) == len(many)
    assert {each.inode: each.pid for each in told} == {namespace.inode: namespace.pid for namespace in many}


def test_namespaces_that_come_and_go_meanwhile_disturb_nobody(walk: NamespaceWalk, netns: Namespace) -> None:
    ending = threading.Event()

    def come_and_go() -> None:
        while not ending.is_set():
            Namespace().close()

    coming_and_going = threading.Thread(target=come_and_go)
    coming_and_going.start()
    try:
        told = [[each.inode for each in walk.take()] for _ in range(50)]
    finally:
        ending.set()
        coming_and_going.join()
    assert [inodes.count(netns.inode) for inodes in told] == [1] * 50


@pytest.mark.parametrize("way", [way for way in WALKS if way != "procfs"])
def test_the_cookie_is_the_kernels(kernel: KernelFacts, netns: Namespace, way: str) -> None:
    with netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        cookie = int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
    with contextlib.closing(WALKS[way](kernel)) as walk:
        walked = find(walk, netns)
    assert walked is not None
    assert walked.cookie == cookie


def test_a_process_that_has_gone_has_no_cookie(kernel: KernelFacts) -> None:
    with contextlib.closing(NetnsCookies(kernel)) as cookies, subprocess.Popen(["true"]) as gone:
        gone.wait()
        assert cookies.of(gone.pid) is None


def test_a_file_that_is_no_namespace_has_no_cookie(kernel: KernelFacts, tmp_path: Path) -> None:
    (tmp_path / "1/ns").mkdir(parents=True)
    (tmp_path / "1/ns/net").touch()
    with contextlib.closing(NetnsCookies(kernel)) as cookies:
        assert cookies.of(1, tmp_path) is None


def test_of_several_threads_one_walks_at_a_time(kernel: KernelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program in the kernel has one record, which two passes at once would write."""
    meeting, walking, most = Meeting(), 0, 0
    read = IteratorLink.read

    def slow_read(iterator: IteratorLink) -> bytes:
        nonlocal walking, most
        walking += 1
        most = max(most, walking)
        meeting.hold()
        records = read(iterator)
        walking -= 1
        return records

    with meeting.watching_locks():
        walk = KernelWalk(kernel)
    monkeypatch.setattr(IteratorLink, "read", slow_read)
    with contextlib.closing(walk):
        meeting.of(walk.take, walk.take)
    assert most == 1


def test_cookies_that_two_threads_ask_for_at_once_are_not_exchanged(
    kernel: KernelFacts, netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = Meeting()
    told: dict[int, tuple[int, int] | None] = {}
    run = BpfObject.run

    def slow_run(bpf_object: BpfObject, program: str) -> int:
        code = run(bpf_object, program)
        meeting.hold()
        return code

    with meeting.watching_locks():
        cookies = NetnsCookies(kernel)
    pids = (os.getpid(), netns.pid)
    with contextlib.closing(cookies):
        alone = {pid: cookies.of(pid) for pid in pids}
        monkeypatch.setattr(BpfObject, "run", slow_run)
        meeting.of(*(lambda pid=pid: told.update({pid: cookies.of(pid)}) for pid in pids))
    assert told == alone
    assert None not in told.values()


# --- Their counters


def send_to_itself(namespace: Namespace, count: int) -> None:
    """Send datagrams, all of which arrive."""
    host = loopback(namespace).client
    with datagram(host, Family.IPV4) as reader, datagram(host, Family.IPV4) as sender:
        for _ in range(count):
            sender.sendto(b"x", reader.getsockname())
            reader.recv(1)


def connect_to_itself(namespace: Namespace, count: int) -> None:
    """Make connections, and reset them."""
    host = loopback(namespace).client
    with listening(host, Family.IPV4) as listener:
        for _ in range(count):
            with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                server, _ = listener.accept()
                close_with_reset(client)
                server.close()


def test_every_counter_that_procfs_has_is_walked(walk: NamespaceWalk, netns: Namespace) -> None:
    walked = {f"{protocol}.{name}" for protocol, name in walk.positions if protocol in PROTOCOLS}
    assert walked == mibs_of_procfs(netns).keys()


def test_the_counters_are_those_of_procfs(walk: NamespaceWalk, netns: Namespace) -> None:
    send_to_itself(netns, 30)
    connect_to_itself(netns, 20)
    walked, shown = both_at_one_moment(walk, netns)
    assert walked == shown
    assert walked["Tcp.MaxConn"] == 2**64 - 1
    moved = {"Udp.InDatagrams": 30, "Udp.OutDatagrams": 30, "Tcp.ActiveOpens": 20, "Tcp.PassiveOpens": 20}
    assert {name: walked[name] for name in moved} == moved
    assert walked["Tcp.EstabResets"] >= 20
    assert walked["TcpExt.TCPAbortOnClose"] + walked["TcpExt.TCPAbortOnData"] >= 20


def test_the_counters_of_every_namespace_of_the_machine_are_those_of_procfs(
    walk: NamespaceWalk, netns: Namespace
) -> None:
    """Also of the host, where they are large: between two readings of procfs, since its traffic does not rest."""
    host = Path("/proc/self/ns/net").stat().st_ino
    before = mibs_of_procfs_of("self")
    walked = next(each for each in walk.take() if each.inode == host)
    after = mibs_of_procfs_of("self")
    values = mibs(walk.positions, walked.counters)
    gauges = {"Tcp.CurrEstab"}
    assert host != netns.inode
    assert values.keys() == before.keys()
    assert [name for name in values.keys() - gauges if not before[name] <= values[name] <= after[name]] == []


def mibs_of_procfs_of(process: str) -> dict[str, int]:
    tables: dict[str, int] = {}
    for file in ("snmp", "netstat"):
        lines = Path(f"/proc/{process}/net/{file}").read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, *columns = names.split()
            if group[:-1] in PROTOCOLS:
                words = (int(value) % 2**64 for value in values.split()[1:])
                tables |= {f"{group[:-1]}.{name}": word for name, word in zip(columns, words, strict=True)}
    return tables


# --- Where the kernel does not let it be done


def test_a_kernel_without_types_of_its_own_has_no_iterators(kernel: KernelFacts) -> None:
    elsewhere = dataclasses.replace(kernel, source=dataclasses.replace(kernel.source, in_kernel=False))
    with pytest.raises(BpfError, match="iterators need BTF in the kernel itself"):
        KernelWalk(elsewhere)


def test_a_walk_that_cannot_be_had_leaves_nothing_in_the_kernel(
    kernel: KernelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def malformed() -> list[MibField]:
        raise MalformedTable("/proc/net/snmp", 1, "made up")

    before = held()
    monkeypatch.setattr(namespaces, "fields_in_procfs", malformed)
    with pytest.raises(MalformedTable):
        KernelWalk(kernel)
    assert held() == before
