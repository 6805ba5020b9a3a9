"""Control commands of a real virtio-net device: each is counted and told, and those that take too long as such.

The kernel's own tracing of functions (Documentation/trace/kprobetrace.rst) is the witness of how many there were.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.waiting import eventually
from otel_netagent.model.event import Event
from otel_netagent.pipeline.kernel_access import KernelAccess, find_kernel_access
from otel_netagent.probing.declaration import EventSettings
from tests.kernel.fixtures import CompileBpf
from tests.probes.holdups import holdup
from tests.probes.of_node import events_of_node, values_of_node
from tests.probes.running import Running, running

_TRACING: Final = Path("/sys/kernel/tracing")
_MS: Final = 1_000_000
_PATIENCE_S: Final = 30.0


@pytest.fixture(scope="module")
def access() -> Iterator[KernelAccess]:
    access = find_kernel_access()
    with contextlib.closing(access.walk.walk):
        yield access


@pytest.fixture(scope="module")
def device() -> Iterator[str]:
    """The guest's virtio device, up; whatever sends multicast on its own is off."""
    (device,) = [path.name for path in Path("/sys/bus/virtio/drivers/virtio_net").glob("virtio*/net/*")]
    Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
    _ip("link", "set", device, "up")
    yield device
    _ip("link", "set", device, "down")


@pytest.fixture(scope="module")
def commands_traced() -> Iterator[Callable[[], int]]:
    """How many commands the kernel itself has seen."""
    symbols = Path("/proc/kallsyms").read_text()
    reply = " virtnet_send_command_reply\t" in symbols
    function = "virtnet_send_command_reply" if reply else "virtnet_send_command"
    (_TRACING / "kprobe_events").write_text(f"p:commands/given virtio_net:{function}\n")
    (_TRACING / "events/commands/enable").write_text("1")
    yield lambda: int((_TRACING / "kprobe_profile").read_text().split()[1])
    (_TRACING / "events/commands/enable").write_text("0")
    (_TRACING / "kprobe_events").write_text("")


@pytest.fixture(scope="module")
def telling_all(access: KernelAccess) -> Iterator[Running]:
    """The probe, with each command an event."""
    with running("virtcmdlat", access, EventSettings(thresholds_ms={"VIRTCMDEXCUTE": 0})) as probe:
        yield probe


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _commands(probe: Running) -> int:
    return sum(values_of_node(probe).distributions["inspector_node_virtsendcmdlat"].counts)


def _told(events: list[Event]) -> Counter[str]:
    """Class and command of each."""
    return Counter(event.body.rpartition(" control=")[2] for event in events)


# (what to do, and what that must cause: Virtual I/O Device Version 1.3, 5.1.6.5)
CHANGES: Final = [
    ("link set {} promisc on", {"RX/0", "RX/1", "MAC/0"}),
    ("link set {} allmulticast on", {"RX/0", "RX/1", "MAC/0"}),
    ("link set {} address 02:00:00:00:00:77", {"MAC/1"}),
    ("link add link {} name vlan77 type vlan id 77", {"VLAN/0"}),
    ("link delete vlan77", {"VLAN/1"}),
    ("link set {} promisc off", {"RX/0", "RX/1", "MAC/0"}),
]


@pytest.mark.parametrize(("change", "caused"), CHANGES, ids=[change for change, _ in CHANGES])
def test_each_command_is_counted_and_told(
    telling_all: Running, commands_traced: Callable[[], int], device: str, change: str, caused: set[str]
) -> None:
    events_of_node(telling_all)
    counted, traced = _commands(telling_all), commands_traced()
    _ip(*change.format(device).split())
    seen: list[Event] = []

    def told_as_caused() -> bool:
        seen.extend(events_of_node(telling_all))
        return caused <= _told(seen).keys()

    eventually(told_as_caused, _PATIENCE_S)  # since 6.11 a work queue changes the receive mode
    while (before := commands_traced()) != (told := _commands(telling_all) - counted + traced):
        assert told <= before
    seen += events_of_node(telling_all)
    assert _told(seen).total() == told - traced
    assert caused <= _told(seen).keys()
    assert all(event.attributes["netagent.latency_ns"] for event in seen)


def test_ordinary_commands_make_no_event(access: KernelAccess, device: str) -> None:
    """But are counted: unless the guest is slow, and then they are told as what they were."""
    with running("virtcmdlat", access) as probe:
        _ip("link", "set", device, "promisc", "on")
        eventually(lambda: _commands(probe) >= 3, _PATIENCE_S)
        values = values_of_node(probe).numbers
        slow = [event for event in events_of_node(probe) if int(event.attributes["netagent.latency_ns"]) <= 10 * _MS]
        assert values["inspector_pod_virtcmdlatency"] >= values["inspector_pod_virtcmdlatency100ms"]
        _ip("link", "set", device, "promisc", "off")
    assert slow == []


@pytest.mark.parametrize(("milliseconds", "kind"), [(30, "VIRTCMDEXCUTE"), (130, "VIRTCMDEXCUTE_100MS")])
def test_a_slow_command_is_counted_and_told(
    access: KernelAccess, compile_bpf: CompileBpf, device: str, milliseconds: int, kind: str
) -> None:
    with running("virtcmdlat", access) as probe, holdup(compile_bpf, "hold_command") as hypervisor:
        hypervisor.arm(milliseconds)
        _ip("link", "set", device, "address", f"02:00:00:00:01:{milliseconds:02x}")
        strike = eventually(hypervisor.strike, _PATIENCE_S)
        assert strike is not None
        assert strike.ended_ns - strike.began_ns >= milliseconds * _MS
        eventually(lambda: _commands(probe) >= 1, _PATIENCE_S)
        events = events_of_node(probe, 0)
        values = values_of_node(probe).numbers
    (event,) = [
        each
        for each in events
        if each.time_ns >= strike.ended_ns
        and each.time_ns - int(each.attributes["netagent.latency_ns"]) <= strike.began_ns
    ]
    latency_ns = int(event.attributes["netagent.latency_ns"])
    assert event.type.name == ("VIRTCMDEXCUTE_100MS" if latency_ns > 100 * _MS else kind)
    assert event.attributes["process.pid"] == strike.interrupted
    assert event.attributes["process.command"] == "ip"
    assert event.body.endswith(" command=ip control=MAC/1")
    told = Counter(each.type.name for each in events)
    assert values["inspector_pod_virtcmdlatency"] == told["VIRTCMDEXCUTE"] + told["VIRTCMDEXCUTE_100MS"]
    assert values["inspector_pod_virtcmdlatency100ms"] == told["VIRTCMDEXCUTE_100MS"]
