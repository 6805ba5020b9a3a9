"""The kernel's cache of TCP sockets: how many objects it holds, and how large they are.

One cache serves all namespaces, so this is reported once, as the host's. Opt-in: to read the table, the kernel
goes through every cache that it has, under a lock that creating and deleting caches takes too, and `sock` reports at
less cost how many sockets there are and how much memory their buffers use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from otel_netagent.kernel.proc.slabinfo import SlabCache, parse_slab_cache
from otel_netagent.model.series import Kind, Series
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.columns import Column, Columns
from otel_netagent.probing.declaration import Environment, Probe
from otel_netagent.probing.node import RunningNodeProbe

_CACHE: Final = "TCP"
_SLABINFO: Final = Path("/proc/slabinfo")


def _gauge(name: str, field: str, unit: str, meaning: str) -> Column[str]:
    source = f"/proc/slabinfo {_CACHE} {field}; of the node, shown as the host's"
    return Column(field, Series(f"inspector_pod_slabtcpslab{name}", Kind.GAUGE, unit, meaning, source))


_COLUMNS: Final = Columns(
    _gauge("objactive", "active_objs", "1", "active objects in the TCP cache"),
    _gauge("objnum", "num_objs", "1", "objects in the TCP cache"),
    _gauge("objsize", "objsize", "By", "size of one object"),
    _gauge("objperslab", "objperslab", "1", "objects in one slab of the TCP cache"),
    _gauge("pagesperslab", "pagesperslab", "1", "pages in one slab of the TCP cache"),
)


def _read() -> SlabCache:
    """The cache now. Raises Unavailable."""
    try:
        text = _SLABINFO.read_text(encoding="ascii")
    except OSError as error:
        raise Unavailable(
            f"{_SLABINFO}: {error.strerror}: only root may read it, or who has CAP_DAC_READ_SEARCH"
        ) from error
    cache = parse_slab_cache(text, _CACHE)
    if cache is None:
        raise Unavailable(f"{_SLABINFO} has no cache {_CACHE!r}: this kernel keeps TCP sockets elsewhere")
    return cache


def _start(_environment: Environment) -> RunningNodeProbe:
    _read()
    return RunningNodeProbe("slab", _COLUMNS.series, "the cache of TCP sockets", lambda: _COLUMNS.row(_read()))


PROBE: Final = Probe(
    name="slab",
    summary="the kernel's cache of TCP sockets",
    start=_start,
    series=_COLUMNS.series,
    cost="1 ms: the kernel goes through all its caches",
    opt_in="expensive, and node-wide only",
)
