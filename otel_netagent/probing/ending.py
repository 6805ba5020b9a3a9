"""Distinguishing segments that end without loss from drops, as bpf/include/ending.h does: hooks and preparation."""

from __future__ import annotations

from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.symbols import Symbols
from otel_netagent.probing.attach import AttachMethod, Hook, KernelMember, at_entry

DROP_SHOWS_SOCKET: Final = KernelMember(
    "trace_event_raw_kfree_skb", "rx_sk", "before Linux 6.11 a drop does not show which socket the packet was for"
)


def time_wait_hook(purpose: str, at_drop: str) -> Hook:
    """What sees segments that meet a socket in TIME_WAIT; `at_drop` is the object's program at kfree_skb."""
    return Hook(purpose, (AttachMethod(at_drop, DROP_SHOWS_SOCKET), *at_entry("meets_time_wait")))


def request_hook(purpose: str, at_drop: str) -> Hook:
    """What sees resets that meet a half-open connection; `at_drop` is the object's program at kfree_skb."""
    return Hook(purpose, (AttachMethod(at_drop, DROP_SHOWS_SOCKET), *at_entry("meets_request")))


def prepare_endings(bpf_object: BpfObject, symbols: Symbols) -> None:
    """Set, in an object that is not loaded yet, where such segments are freed. Raises SymbolsUnreadable."""
    for function in ("tcp_v4_rcv", "tcp_v6_rcv"):
        bpf_object.variable(function)[:] = symbols.span(function)
