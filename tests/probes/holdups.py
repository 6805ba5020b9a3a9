"""An eBPF program of the tests' own that keeps a CPU busy for a given time, at a place that a fault may be in.

Once armed it strikes once. It is to be attached after the probe: at a tracepoint that both are at, the probe is called
first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from tests.kernel.fixtures import CompileBpf

_SOURCE = r"""
#include "netns.h"

#define NET_RX_SOFTIRQ 3

__u64 duration_ns; /* 0: not armed */
__u64 began_ns, ended_ns;
__u32 netns_inode, process, cpu, interrupted;

/* To be copied to and fro: some 50 us a time, in a loop that old verifiers admit (bpf_loop() came with 5.17). */
__u8 ballast[1 << 20], copy_of_ballast[1 << 20];

static __always_inline int hold(void)
{
	__u64 now = bpf_ktime_get_ns(), end = now + duration_ns;

	began_ns = now;
	duration_ns = 0;
	cpu = bpf_get_smp_processor_id();
	interrupted = bpf_get_current_pid_tgid() >> 32;
	for (int i = 0; i < 8192 && now < end; i++) {
		bpf_probe_read_kernel(copy_of_ballast, sizeof(ballast), ballast);
		now = bpf_ktime_get_ns();
	}
	ended_ns = now;
	return 0;
}

/* In NET_RX, at a packet that comes in a namespace. */
SEC("raw_tp/netif_receive_skb")
int BPF_PROG(hold_reception, struct sk_buff *skb)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);

	if (!duration_ns || BPF_CORE_READ(netns_of_device(dev), ns.inum) != netns_inode)
		return 0;
	return hold();
}

/* With interrupts off, where a process has raised NET_RX. */
SEC("raw_tp/softirq_raise")
int BPF_PROG(hold_raised, __u32 vector)
{
	if (!duration_ns || bpf_get_current_pid_tgid() >> 32 != process || vector != NET_RX_SOFTIRQ)
		return 0;
	return hold();
}

/* In a control command of a virtio-net device; other drivers kick their queues by other functions. */
SEC("kprobe/virtqueue_kick")
int hold_command(void *context)
{
	return duration_ns ? hold() : 0;
}
"""


class Strike(NamedTuple):
    """When it held up the CPU (ns of CLOCK_MONOTONIC), which, and at which process."""

    began_ns: int
    ended_ns: int
    cpu: int
    interrupted: int


class Holdup:
    """The program at one of its places."""

    def __init__(self, bpf_object: BpfObject) -> None:
        """Use an attached object."""
        self._object = bpf_object

    def arm(self, milliseconds: int) -> None:
        """Let it strike at the next occasion."""
        self._object.variable("ended_ns")[0] = 0
        self._object.variable("duration_ns")[0] = milliseconds * 1_000_000

    def strike(self) -> Strike | None:
        """What it did since it was armed; None while it has not."""
        if not self._object.variable("ended_ns")[0]:
            return None
        return Strike(*(self._object.variable(name)[0] for name in Strike._fields))


@contextlib.contextmanager
def holdup(compile_bpf: CompileBpf, place: str, netns: int = 0) -> Iterator[Holdup]:
    """The program attached: `hold_reception` in a namespace, `hold_raised` for this process, or `hold_command`."""
    with BpfObject(compile_bpf(_SOURCE), (place,)) as bpf_object:
        bpf_object.load()
        bpf_object.variable("netns_inode")[0] = netns
        bpf_object.variable("process")[0] = os.getpid()
        bpf_object.attach(place)
        yield Holdup(bpf_object)


@contextlib.contextmanager
def on_one_cpu() -> Iterator[int]:
    """Keep this thread on one CPU; its number."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)
