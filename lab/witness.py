"""Proof that a scenario did what its truth says, by witnesses that know nothing of the agent.

They are the kernel's tracepoints in their own text, a packet socket on each host's device, and procfs.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lab.capture import capturing
from lab.counters import counters
from lab.links import Host
from lab.segments import Flag, Segment
from lab.tracing import Trace, Traced
from lab.truth import Flow, Origin, SentReset, Truth

T = TypeVar("T")


@dataclass(slots=True)
class Testimony:
    """What the witnesses saw of a scenario, once its block has ended."""

    firings: list[Traced]
    sent: Counter[tuple[int, Flow]]
    received: Counter[tuple[int, Flow]]
    moved: dict[int, Mapping[str, int]]

    def confirm(self, truth: Truth, *, deferred: bool) -> None:
        """Assert that what was seen and what the truth says are the same.

        What is `deferred` happens in other threads, where what the rest of the machine does is seen too: then the
        tracepoints must have reported the truth, and may have reported more.
        """
        self._confirm_packets(truth)
        self._confirm_counters(truth)
        self._confirm_states(truth, in_any_thread=deferred)
        for event, seen, true in (
            ("kfree_skb", _reason, _reasons_of_freed(truth)),
            ("tcp_send_reset", _sent_reset, map(_true_reset, truth.sent_resets)),
            ("tcp_receive_reset", _local_and_remote_port, _ports_of_true_receptions(truth)),
        ):
            expected = Counter(true)
            found = Counter(seen(fired) for fired in self.fired(event, in_any_thread=deferred))
            assert expected <= found if deferred else expected == found, f"{event}: {expected}, found {found}"

    def confirm_quiet(self, truth: Truth) -> None:
        """Assert that no reset was sent or received, and that what the truth counts was counted."""
        self._confirm_counters(truth)
        assert not self.sent
        assert not self.received
        assert not self.fired("tcp_send_reset")
        assert not self.fired("tcp_receive_reset")

    def fired(self, event: str, *, in_any_thread: bool = False) -> list[Traced]:
        """The firings of one event, without what links between namespaces do by themselves."""
        return [
            fired
            for fired in self.firings
            if fired.event == event and (in_any_thread or fired.in_thread) and not _is_routine(fired)
        ]

    def _confirm_packets(self, truth: Truth) -> None:
        """Every RST of the truth was on the device, and no other."""
        assert self.sent == Counter((reset.netns, reset.segment) for reset in truth.sent_resets)
        heeded = Counter((reset.netns, reset.segment) for reset in truth.received_resets)
        refused = Counter((drop.netns, drop.flow) for drop in truth.drops if drop.reset)
        late = Counter((each.netns, each.segment) for each in truth.time_wait if each.flags & Flag.RST)
        assert self.received == (heeded | late) + refused

    def _confirm_states(self, truth: Truth, *, in_any_thread: bool) -> None:
        """The tracepoint reported the state, or the socket left it for CLOSE.

        Nothing reports the states of requests and of TIME_WAIT: `test_states` shows that sockets are in them.
        """
        true = {(reset.segment.source.port, reset.state) for reset in truth.sent_resets if reset.state}
        true |= {
            (reset.segment.destination.port, reset.state)
            for reset in truth.received_resets
            if reset.state not in {"TCP_SYN_RECV", "TCP_TIME_WAIT"}
        }
        shown = {
            (fired.endpoint("src").port, fired["state"])
            for fired in self.fired("tcp_send_reset", in_any_thread=in_any_thread)
        }
        left = {
            (int(fired["sport"]), fired["oldstate"])
            for fired in self.fired("inet_sock_set_state", in_any_thread=in_any_thread)
            if fired["newstate"] == "TCP_CLOSE"
        }
        assert true <= shown | left

    def _confirm_counters(self, truth: Truth) -> None:
        true: Counter[tuple[int, str]] = Counter()
        for count in truth.counts:
            true[count.netns, count.counter] += count.by
        assert true == {(netns, counter): self.moved[netns].get(counter, 0) for netns, counter in true}


@contextlib.contextmanager
def witnessed(trace: Trace, *hosts: Host) -> Iterator[Testimony]:
    """Watch the block; the testimony is complete when it ends."""
    testimony = Testimony([], Counter(), Counter(), {})
    with contextlib.ExitStack() as stack:
        captures = [(host.namespace.inode, stack.enter_context(capturing(host))) for host in hosts]
        before = {host.namespace.inode: counters(host.namespace) for host in hosts}
        yield testimony
        testimony.firings = trace.firings()
        for host in hosts:
            netns = host.namespace.inode
            testimony.moved[netns] = _differences(before[netns], counters(host.namespace))
        for netns, capture in captures:
            sent, received = capture.segments()
            testimony.sent.update((netns, segment.flow) for segment in _resets(sent))
            testimony.received.update((netns, segment.flow) for segment in _resets(received))


def _differences(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """snmp6 shows a counter's first use by a new line: what was absent was 0."""
    return {name: value - before.get(name, 0) for name, value in after.items()}


def _resets(segments: Iterable[Segment]) -> Iterator[Segment]:
    return (segment for segment in segments if segment.flags & Flag.RST)


def _reasons_of_freed(truth: Truth) -> Iterator[str]:
    """Of drops, and of segments that ended without loss but are freed by the same call (tcp_v4_rcv, discard_it)."""
    for drop in truth.drops:
        yield from [drop.reason] * drop.count
    yield from ["NOT_SPECIFIED"] * len(truth.time_wait)
    yield from ["NOT_SPECIFIED" for reset in truth.received_resets if reset.state == "TCP_SYN_RECV"]


def _is_routine(fired: Traced) -> bool:
    """A report of multicast listening (RFC 3810) that reaches a host which listens to no reports."""
    return fired.event == "kfree_skb" and fired["location"].startswith("ip6_mc_input+")


def _reason(fired: Traced) -> str:
    return fired["reason"]


def _sent_reset(fired: Traced) -> tuple[Origin, int, str]:
    if fired.is_null("skaddr"):
        origin = Origin.NO_SOCKET
    else:
        origin = Origin.ACTIVE if fired.is_null("skbaddr") else Origin.PROCESS
    return origin, fired.endpoint("src").port, fired["reason"]


def _true_reset(reset: SentReset) -> tuple[Origin, int, str]:
    return reset.origin, reset.segment.source.port, reset.reason


def _local_and_remote_port(fired: Traced) -> tuple[int, int]:
    return int(fired["sport"]), int(fired["dport"])


def _ports_of_true_receptions(truth: Truth) -> Iterator[tuple[int, int]]:
    """Receptions that the tracepoint reports: not where a request or TIME_WAIT stands in for the socket.

    It also reports RSTs that never were: the kernel resets its own socket by the same call when data come too late.
    """
    small = {segment.segment for segment in truth.time_wait}
    for reset in truth.received_resets:
        if reset.state != "TCP_SYN_RECV" and reset.segment not in small:
            yield reset.segment.destination.port, reset.segment.source.port
    for sent in truth.sent_resets:
        if sent.reason == "TCP_ABORT_ON_DATA":
            yield sent.segment.source.port, sent.segment.destination.port
