"""The probe virtcmdlat, as far as it needs no driver: its object is loaded, without a program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.model.attribute import AttributeValue
from otel_netagent.model.event import Event, EventType
from otel_netagent.pipeline.kernel_access import OBJECTS
from otel_netagent.probes.virtcmdlat import PROBE, CommandReader
from otel_netagent.probing.attach import Attached
from otel_netagent.probing.event_probe import EventProbe


class _Commands(EventProbe):
    def __init__(self, bpf_object: BpfObject) -> None:
        super().__init__("virtcmdlat", PROBE.events, Attached(bpf_object, ()))
        self._reader = CommandReader(bpf_object.btf)

    def _read(self, record: bytes, kind: int) -> tuple[EventType, dict[str, AttributeValue]]:
        return self._reader.read(record, kind)


@contextlib.contextmanager
def command_decoder() -> Iterator[Callable[[bytes, int], Event]]:
    """How its records become events."""
    with BpfObject(OBJECTS / "virtcmdlat.bpf.o", ()) as bpf_object:
        bpf_object.load()
        yield _Commands(bpf_object).decode
