"""All numbers of one collection, with the entities that they concern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_netagent.identity.entity import Entity
from otel_netagent.model.table import HistogramTable, Table


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers of one collection, with the entities that they concern.

    `time_ns` is the Unix time (CLOCK_REALTIME) at which the collection began: no number is older. `entities` are by the
    cookies of their namespaces, as rows are. Every namespace of every row is among them: a row whose namespace is gone
    is not in a snapshot.
    """

    time_ns: int
    entities: Mapping[int, Entity]
    tables: tuple[Table | HistogramTable, ...]
