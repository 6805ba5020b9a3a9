"""Reading the ring buffers of several eBPF objects with one wait."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.bpf_object import Map
from otel_netagent.kernel.bpf.libbpf import BpfError, error_text

_MOST_AT_ONCE: Final = 4096
_STOP: Final = -errno.ECANCELED
_CONSUME: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Record(NamedTuple):
    """One record, and which of the rings it came from."""

    ring: int
    content: bytes


class RingBuffers:
    """Ring buffers that are read together, in the order in which they were given; not for several threads at once."""

    def __init__(self, rings: Sequence[Map]) -> None:
        """Map the rings into memory; there must be one at least. Raises BpfError."""
        self._library = libbpf.load()
        # Called without releasing the GIL: to acquire it again for each record would cost more than all else, and
        # where other threads want it too, each time may take milliseconds.
        self._consume = _CONSUME(("ring_buffer__consume", ctypes.PyDLL(libbpf.SONAME)))
        self._records: list[Record] = []
        # ctypes keeps no reference to a callback that C holds.
        self._callbacks = [self._callback(number) for number in range(len(rings))]
        first, *others = zip(rings, self._callbacks, strict=True)
        self._handle: int | None = self._library.ring_buffer__new(first[0].fd, first[1], None, None)
        if not self._handle:
            raise BpfError(f"ring buffer {first[0].name}: {error_text(ctypes.get_errno())}")
        for ring, callback in others:
            code = self._library.ring_buffer__add(self._handle, ring.fd, callback, None)
            if code:
                self.close()
                raise BpfError(f"ring buffer {ring.name}: {error_text(-code)}")

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def fd(self) -> int:
        """File descriptor that can be read (poll(2)) while there are records."""
        return int(self._library.ring_buffer__epoll_fd(self._handle))

    def drain(self) -> list[Record]:
        """Records that are there now; at most some thousands. Raises BpfError."""
        self._records = []
        code = self._consume(self._handle)
        if code < 0 and code not in (_STOP, -errno.EINTR):
            raise BpfError(f"ring buffer: {error_text(-code)}")
        return self._records

    def close(self) -> None:
        """Unmap the rings. May be called again."""
        if self._handle is not None:
            self._library.ring_buffer__free(self._handle)
            self._handle = None

    def _callback(self, ring: int) -> ctypes._FuncPointer:
        def keep(_context: int | None, address: int, size: int) -> int:
            self._records.append(Record(ring, ctypes.string_at(address, size)))
            # Whoever produces faster than we read must not keep us here for ever.
            return 0 if len(self._records) < _MOST_AT_ONCE else _STOP

        return libbpf.SAMPLE_FUNCTION(keep)
