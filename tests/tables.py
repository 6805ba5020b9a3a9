"""The tables that a probe gives, by what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.table import Distribution, HistogramTable, Table


def numbers(tables: Iterable[Table | HistogramTable]) -> Iterator[Table]:
    """Those of counters and gauges."""
    return (table for table in tables if isinstance(table, Table))


def key_of(inode: int, namespaces: Iterable[Namespace]) -> int:
    """What rows of the namespace with this inode number are under, where these were walked."""
    [cookie] = [each.cookie for each in namespaces if each.inode == inode]
    return cookie


def distributions(tables: Iterable[Table | HistogramTable], netns_cookie: int) -> dict[str, Distribution]:
    """The histograms of one namespace, by name of the series; those with labels as `name{a,b}`."""
    found: dict[str, Distribution] = {}
    for table in tables:
        if isinstance(table, HistogramTable):
            for (cookie, labels), row in table.rows.items():
                suffix = "{" + ",".join(labels) + "}" if labels else ""
                if cookie == netns_cookie:
                    found |= {series.name + suffix: value for series, value in zip(table.series, row, strict=True)}
    return found
