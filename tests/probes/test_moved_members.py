"""Python reads members where the compiler put them: of objects whose structures have theirs in the opposite order.

The C structures are the only definition of what maps, iterators and ring buffers hold. So the same probes, over objects
compiled from sources with every member elsewhere, give the same numbers as over the agent's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.links import loopback
from lab.namespace import Namespace
from lab.sockets import datagram, listening
from lab.truth import Family
from lab.waiting import eventually
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.bpf.btf_source import BtfSource
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.kernel.namespaces import KernelWalk
from otel_netagent.model.table import HistogramTable
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probes import fd, io, tcpsummary
from otel_netagent.probing.declaration import Probe
from tests.kernel.fixtures import ROOT
from tests.probes.reading import KERNEL, reading
from tests.probes.running import running

OBJECTS = ("namespaces", "fd", "io", "net_softirq", "packetloss", "tcpsummary")
OTHERS = ("kernel_types.h", "flow.h")
"""Headers of structures that are the kernel's or the network's, which nobody may change."""

STRUCTURE = re.compile(r"^(struct \w+ \{.*\n)((?:\t.*\n)*)(\};)", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

READ = {
    "namespaces": ("namespace_record", "mib_counters", "message_counters", "socket_counters", "conntrack_counters"),
    "fd": ("process_descriptors",),
    "io": ("namespace_account", "account"),
    "net_softirq": ("softirq", "histogram", "delay", "event_header"),
    "packetloss": ("occurrence_key", "occurrences", "packetloss_event", "event_header"),
    "tcpsummary": ("socket_tables", "hash_table", "connections", "port_key", "accept_queue", "histogram"),
}
"""Structures that Python reads, by object."""


def moved_around(source: str) -> str:
    """With the members of every structure in the opposite order."""

    def opposite(found: re.Match[str]) -> str:
        members = [member.strip() for member in COMMENT.sub("", found[2]).split(";") if member.strip()]
        return found[1] + "".join(f"\t{member};\n" for member in reversed(members)) + found[3]

    return STRUCTURE.sub(opposite, source)


@pytest.fixture(scope="module")
def moved_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's objects, by its own Makefile, of such sources."""
    directory = tmp_path_factory.mktemp("moved")
    shutil.copytree(ROOT / "bpf", directory / "bpf")
    shutil.copy(ROOT / "Makefile", directory)
    for file in directory.glob("bpf/**/*.[ch]"):
        if file.name not in OTHERS:
            file.write_text(moved_around(file.read_text()))
    goals = [f"objects/{name}.bpf.o" for name in OBJECTS]
    subprocess.run(["make", "--silent", "OBJECTS=objects", *goals], cwd=directory, check=True)
    return directory / "objects"


@pytest.fixture(scope="module")
def moved(kernel: KernelFacts, moved_objects: Path) -> KernelFacts:
    """The running kernel, with these objects."""
    return dataclasses.replace(kernel, objects=moved_objects)


@pytest.fixture(scope="module")
def moved_access(moved_objects: Path) -> Iterator[KernelAccess]:
    access = find_kernel_access(moved_objects)
    with contextlib.closing(access.walk.walk):
        yield access


@pytest.mark.parametrize("name", OBJECTS)
def test_every_structure_that_is_read_has_its_members_elsewhere(
    name: str, kernel: KernelFacts, moved: KernelFacts
) -> None:
    """Else the tests below would show nothing."""
    own, other = (Btf.load(BtfSource(facts.objects / f"{name}.bpf.o", in_kernel=False)) for facts in (kernel, moved))
    for structure in READ[name]:
        order = [[member.name for member in types.structure(structure)[1]] for types in (own, other)]
        assert len(order[0]) > 1
        assert order[1] == order[0][::-1]


def test_the_walk_reads_the_same_counters(kernel: KernelFacts, moved: KernelFacts, quiet: Namespace) -> None:
    with datagram(loopback(quiet).client, Family.IPV4) as receiver, listening(loopback(quiet).client, Family.IPV4):
        receiver.sendto(b"x", receiver.getsockname())
        receiver.recv(1)
        counted = []
        for facts in (kernel, moved):
            with contextlib.closing(KernelWalk(facts)) as walk:
                (found,) = (each for each in walk.take() if each.inode == quiet.inode)
                named = {field: found.counters[position] for field, position in walk.positions.items()}
                counted.append((found.cookie, found.pid, named))
    assert counted[0] == counted[1]
    numbers = counted[0][2]
    assert (numbers["Udp", "InDatagrams"], numbers["sockets", "tcp"]) == (1, 1)


@pytest.mark.parametrize("probe", [fd.PROBE, io.PROBE], ids=lambda probe: probe.name)
def test_probes_of_processes_read_the_same(
    probe: Probe, kernel: KernelFacts, moved: KernelFacts, quiet: Namespace
) -> None:
    with reading(probe, KERNEL, kernel) as own, reading(probe, KERNEL, moved) as other:
        values = own.values(quiet)
        assert other.values(quiet) == values
        assert all(value for name, value in values.items() if name in {"fdopenfd", "ioioreadsyscall"})
        assert len(set(values.values())) > 1


def test_sockets_are_read_the_same(kernel: KernelFacts, moved: KernelFacts, netns: Namespace) -> None:
    host = loopback(netns).client
    round_trips = "inspector_pod_tcpsummarytcprtt"
    with (
        reading(tcpsummary.PROBE, KERNEL, kernel) as own,
        reading(tcpsummary.PROBE, KERNEL, moved) as other,
        listening(host, Family.IPV4) as listener,
        netns.socket(socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            client.send(b"unread")
            eventually(lambda: own.values(netns)["tcpsummarytcprxqueue"] == len(b"unread"))
            eventually(lambda: own.values(netns)["tcpsummarytcptxqueue"] == 0)
            values = own.values(netns)
            assert other.values(netns) == values
            assert (values["tcpsummarytcpestablishedconn"], values["tcpsummarytcplistenports"]) == (2, 1)
            observed = other.distribution(netns, round_trips)
            assert observed is not None
            assert sum(observed.counts) > 0
            assert observed.sum > 0


def test_drops_are_counted_and_emitted_the_same(moved_access: KernelAccess, netns: Namespace) -> None:
    host = loopback(netns).client
    with datagram(host, Family.IPV4) as once_bound:
        nobody = once_bound.getsockname()
    with running("packetloss", moved_access) as probe, netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", nobody)
        (event,) = eventually(lambda: probe.events(netns))
        assert event.attributes["netagent.drop.reason"] == "NO_SOCKET"
        assert event.attributes["destination.port"] == nobody[1]
        values = probe.values(netns)
        assert values["inspector_pod_packetloss_total"] == 1
        assert values["netagent_events_total{PACKETLOSS,emitted}"] == 1


def test_histograms_of_softirqs_are_read_the_same(moved_access: KernelAccess, netns: Namespace) -> None:
    """A softirq takes more than no time, and on the average less than the last bound but one, half a second."""
    host = loopback(netns).client
    with running("net_softirq", moved_access) as probe, datagram(host, Family.IPV4) as receiver:
        receiver.sendto(b"x", receiver.getsockname())
        tables = probe.probe.collect(probe.walk.take())
        (histograms,) = (table for table in tables if isinstance(table, HistogramTable))
        ((waited, ran),) = histograms.rows.values()
        for each in (waited, ran):
            assert sum(each.counts) > 0
            assert 0 < each.sum < sum(each.counts) / 2
