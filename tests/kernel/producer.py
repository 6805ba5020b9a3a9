"""A program that writes records into a ring buffer when the test wants it to."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from tests.kernel.fixtures import CompileBpf

_TINY = r"""
#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} no_ring SEC(".maps");

__u64 number;

SEC("raw_tp")
int write(void *context)
{
	__u64 record = number++;

	return -bpf_ringbuf_output(&ring, &record, sizeof(record), 0);
}
"""

_CPU = min(os.sched_getaffinity(0))


class Producer:
    """The tiny program, loaded: writes records, each with its number."""

    def __init__(self, bpf_object: BpfObject) -> None:
        """Use a loaded object."""
        self._object = bpf_object
        self.ring = bpf_object.map("ring")
        self.no_ring = bpf_object.map("no_ring")

    def write(self, count: int = 1) -> list[bytes]:
        """Write so many records; what they hold."""
        first = self._object.variable("number")[0]
        assert not any(self._object.run_on_cpu("write", _CPU) for _ in range(count))
        return [struct.pack("=Q", number) for number in range(first, first + count)]


@contextlib.contextmanager
def producing(compile_bpf: CompileBpf) -> Iterator[Producer]:
    """A producer, for the time of the block."""
    with BpfObject(compile_bpf(_TINY), ("write",)) as bpf_object:
        bpf_object.load()
        yield Producer(bpf_object)
