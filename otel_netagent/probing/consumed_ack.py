"""Distinguishing ACKs that TCP has consumed from drops, as bpf/include/consumed_ack.h does: hooks and preparation."""

from __future__ import annotations

from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.kernel.symbols import Symbols
from otel_netagent.probing.attach import AttachMethod, Hook, KernelEnumerator, at_entry
from otel_netagent.probing.drop_reasons import PREFIX
from otel_netagent.probing.ending import DROP_SHOWS_SOCKET

_DROP_SHOWS_OVERFLOW: Final = KernelEnumerator(
    "skb_drop_reason",
    f"{PREFIX}TCP_LISTEN_OVERFLOW",
    "before Linux 6.15 a full accept queue is no drop reason of its own",
)


def probe_hook(at_drop: str) -> Hook:
    """What sees keepalives and window probes; `at_drop` is the object's program at kfree_skb."""
    return Hook(
        "keepalives and window probes (so that they are not counted as drops)",
        (AttachMethod(at_drop, DROP_SHOWS_SOCKET), *at_entry("misses_window")),
    )


def deferral_hook(at_drop: str) -> Hook:
    """What sees ACKs of connections that wait for data; `at_drop` is the object's program at kfree_skb."""
    return Hook(
        "handshakes that TCP_DEFER_ACCEPT defers (so that they are not counted as drops)",
        (AttachMethod(at_drop, _DROP_SHOWS_OVERFLOW), *at_entry("defers_connection")),
    )


def prepare_consumed_acks(bpf_object: BpfObject, symbols: Symbols) -> None:
    """Set, in an object that is not loaded yet, where such segments are freed. Raises SymbolsUnreadable."""
    bpf_object.variable("tcp_rcv_state_process")[:] = symbols.span("tcp_rcv_state_process")
