"""What a kernel cannot show of a fault: every difference from the truths of the laboratory, which are Linux 6.18's.

A kernel is judged by what its tracepoints can print, else by its version. No rule lets a test pass by: each says what
that kernel shows instead, and a kernel that shows more than its rules allow fails the test too.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from lab.scenario import ALL_FAMILIES
from lab.tracing import printed_names, tracefs
from lab.truth import Family, Truth

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kernel:
    """What counts of a kernel: its version, its names of drop reasons, and whether it gives reasons of resets."""

    version: Version
    drop_reasons: frozenset[str]
    reset_reasons: bool

    @classmethod
    def running(cls) -> Kernel:
        """The kernel that runs here, by what its tracepoints print."""
        major, minor = platform.release().split(".")[:2]
        with tracefs() as directory:
            drops, resets = (
                printed_names(directory / "events" / event, "reason")
                for event in ("skb/kfree_skb", "tcp/tcp_send_reset")
            )
        return cls((int(major), int(minor)), drops, bool(resets))


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that kernels show otherwise. `instead` makes of a truth what is left of it there.

    It holds for every scenario, or for those that are named, in some families. Where one cannot be `played` at all,
    the attempt must fail.
    """

    why: str
    holds: Callable[[Kernel], bool]
    instead: Callable[[Kernel, Truth], Truth] = lambda _, truth: truth
    scenarios: Collection[str] = ()
    families: Collection[Family] = ALL_FAMILIES
    played: bool = True

    def concerns(self, kernel: Kernel, scenario: str, family: Family) -> bool:
        """Whether it is to be reckoned with."""
        named = not self.scenarios or scenario in self.scenarios
        return named and family in self.families and self.holds(kernel)


def limits(kernel: Kernel, scenario: str, family: Family) -> Iterator[Limit]:
    """Those that concern a case, in the order in which they are to be applied."""
    return (limit for limit in LIMITS if limit.concerns(kernel, scenario, family))


def limited(kernel: Kernel, truth: Truth) -> Truth:
    """What is left of a truth that is no scenario's."""
    for limit in LIMITS:
        if not limit.scenarios and limit.holds(kernel):
            truth = limit.instead(kernel, truth)
    return truth


def _before(*version: int) -> Callable[[Kernel], bool]:
    return lambda kernel: kernel.version < version


def _since(*version: int) -> Callable[[Kernel], bool]:
    return lambda kernel: kernel.version >= version


def _lacking(reason: str) -> Callable[[Kernel], bool]:
    """Kernels that give reasons, but not this one."""
    return lambda kernel: bool(kernel.drop_reasons) and reason not in kernel.drop_reasons


def _without_drops(_: Kernel, truth: Truth) -> Truth:
    return replace(truth, drops=())


def _dropped_for(reason: str) -> Callable[[Kernel, Truth], Truth]:
    return lambda _, truth: replace(truth, drops=tuple(replace(drop, reason=reason) for drop in truth.drops))


def _reasons_that_are_known(kernel: Kernel, truth: Truth) -> Truth:
    drops = (
        drop if drop.reason in kernel.drop_reasons else replace(drop, reason="NOT_SPECIFIED") for drop in truth.drops
    )
    return replace(truth, drops=tuple(drops))


def _resets_without_reason(_: Kernel, truth: Truth) -> Truth:
    return replace(truth, sent_resets=tuple(replace(reset, reason="") for reset in truth.sent_resets))


LIMITS: Final = (
    Limit(
        "nftables has no egress hook before 5.16 (42df6e1d221d): the fault cannot be made.",
        _before(5, 16),
        scenarios=("nft_egress",),
        played=False,
    ),
    Limit(
        "Before 5.17 nothing distinguishes ICMPv6 messages that the kernel rejects from those that it has handled: "
        "counted, no event.",
        _before(5, 17),
        _without_drops,
        scenarios=("icmp_checksum",),
        families=(Family.IPV6,),
    ),
    Limit(
        "Before 5.18 (8fbf195798b5) TCP frees without a word what it refuses in a connection (`tcp_drop`): "
        "no PACKETLOSS.",
        _before(5, 18),
        _without_drops,
        scenarios=(
            "rst_with_wrong_number",
            "old_RST",
            "old_RST_ACK",
            "old_ACK",
            "old_data",
            "data_after_FIN",
            "FIN_after_FIN",
        ),
    ),
    Limit(
        "Before 6.6 (b44693495af8) a segment older than the window is as one beyond it: `TCP_INVALID_SEQUENCE`.",
        _lacking("TCP_OLD_SEQUENCE"),
        _dropped_for("TCP_INVALID_SEQUENCE"),
        scenarios=("old_RST", "old_RST_ACK", "old_ACK", "old_data"),
    ),
    Limit(
        "Before 6.11 (c53795d48ee8) nothing shows the namespace of data for a closed window: no PACKETLOSS there.",
        _before(6, 11),
        _without_drops,
        scenarios=("data_for_closed_window",),
    ),
    Limit(
        "Before 6.17 (9ca48d616ed7) data for a closed window are dropped for that: `TCP_ZEROWINDOW`.",
        _lacking("TCP_INVALID_END_SEQUENCE"),
        _dropped_for("TCP_ZEROWINDOW"),
        scenarios=("data_for_closed_window",),
    ),
    Limit(
        "Before 6.9 (b98256959305) a segment that is answered by a RST, because of its flags, has no reason: "
        "`NOT_SPECIFIED`.",
        lambda kernel: bool(kernel.drop_reasons) and kernel.version < (6, 9),
        _dropped_for("NOT_SPECIFIED"),
        scenarios=("process_in_LISTEN", "process_in_SYN_RECV_ack"),
    ),
    Limit(
        "After 6.18 (4a64f9732577) IPv6 too says `IP_OUTNOROUTES` where a connection has lost its route.",
        _since(6, 19),
        _dropped_for("IP_OUTNOROUTES"),
        scenarios=("route_lost",),
        families=(Family.IPV6,),
    ),
    Limit(
        "Drops have no reason before 5.17 (c504e5c2f964): `NOT_GIVEN`, also of those that are known to be ordinary "
        "by their reason.",
        lambda kernel: not kernel.drop_reasons,
        _dropped_for("NOT_GIVEN"),
    ),
    Limit(
        "The drop's reason came with a later kernel: `NOT_SPECIFIED`.",
        lambda kernel: bool(kernel.drop_reasons),
        _reasons_that_are_known,
    ),
    Limit(
        "Resets that are sent have no reason before 6.10 (ee01defe25ba).",
        lambda kernel: not kernel.reset_reasons,
        _resets_without_reason,
    ),
)
