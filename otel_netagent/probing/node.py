"""Facts of the whole node, which the kernel keeps once for all namespaces: reported once, as the host's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otel_netagent.kernel.namespaces import Namespace, NamespaceWalk
from otel_netagent.kernel.proc import processes
from otel_netagent.model.probe_status import HookStatus
from otel_netagent.model.series import Series
from otel_netagent.model.table import RowKey, Table, Values, ValueT
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import EventSource


class NodeRow:
    """The one row that a table of the node has."""

    def __init__(self) -> None:
        """Know the host's namespace. Raises Unavailable where it cannot be known."""
        host = processes.host_netns()
        if host is None:
            raise Unavailable("the host's network namespace cannot be determined: /proc/self/ns/net cannot be read")
        self._host = host

    def of(self, values: tuple[ValueT, ...], namespaces: Iterable[Namespace]) -> dict[RowKey, tuple[ValueT, ...]]:
        """The values as the host's row; no row where the host is not among the namespaces."""
        return {(each.cookie, ()): values for each in namespaces if each.inode == self._host}

    def namespace(self, walk: NamespaceWalk) -> Namespace:
        """The host's namespace. Raises Unavailable where the walk does not show it."""
        for each in walk.take():
            if each.inode == self._host:
                return each
        raise Unavailable(f"the host's network namespace, {self._host}, has no process that can be seen")


class RunningNodeProbe:
    """A probe of nothing but facts of the node."""

    event_source: EventSource | None = None

    def __init__(self, name: str, series: tuple[Series, ...], purpose: str, read: Callable[[], Values]) -> None:
        """`read` gives the values. What it raises now, the caller has to explain. Raises Unavailable."""
        self._name = name
        self._series = series
        self._read = read
        self._row = NodeRow()
        self.hooks: tuple[HookStatus, ...] = (HookStatus(purpose, "procfs"),)

    def collect(self, namespaces: Iterable[Namespace]) -> Iterable[Table]:
        """Its one row."""
        yield Table(self._name, self._series, self._row.of(self._read(), namespaces))

    def close(self) -> None:
        """Nothing is held."""
