"""The cache of TCP sockets is told as /proc/slabinfo has it, once."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.namespace import Namespace
from otel_netagent.kernel.proc import processes
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.slabinfo import SlabCache, parse_slab_cache
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import slab
from tests.probes.collected import collected

NAMES = ["objactive", "objnum", "objsize", "objperslab", "pagesperslab"]

HEADER = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> ...
"""


def test_the_cache_grows_with_the_sockets_of_any_namespace(access: KernelAccess, netns: Namespace) -> None:
    with collected(slab.PROBE, access) as probe, contextlib.ExitStack() as sockets:
        for _ in range(2000):
            sockets.enter_context(netns.socket(socket.AF_INET, socket.SOCK_STREAM))
        rows = probe.rows()
        (row,) = (line.split() for line in Path("/proc/slabinfo").read_text().splitlines() if line.startswith("TCP "))
    ((host, values),) = rows.items()
    assert host == processes.host_netns()
    assert [values[f"slabtcpslab{name}"] for name in NAMES[2:]] == list(map(int, row[3:6]))
    assert 2000 <= values["slabtcpslabobjactive"] <= values["slabtcpslabobjnum"]


def test_each_series_shows_its_own_column(
    access: KernelAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slabinfo").write_text(HEADER + "TCP 1 20 300 4000 50000 : tunables 0 0 0 : slabdata 1 1 0\n")
    monkeypatch.setattr(slab, "_SLABINFO", tmp_path / "slabinfo")
    with collected(slab.PROBE, access) as probe:
        ((_, values),) = probe.rows().items()
    assert [values[f"slabtcpslab{name}"] for name in NAMES] == [1, 20, 300, 4000, 50000]


def test_sizes_are_those_that_the_cache_itself_tells(access: KernelAccess) -> None:
    cache = Path("/sys/kernel/slab/TCP")
    assert cache.is_dir(), "this kernel has no /sys/kernel/slab"
    with collected(slab.PROBE, access) as probe:
        ((_, values),) = probe.rows().items()
    assert values["slabtcpslabobjperslab"] == int((cache / "objs_per_slab").read_text())
    assert values["slabtcpslabpagesperslab"] == 1 << int((cache / "order").read_text())
    assert values["slabtcpslabobjsize"] == int((cache / "slab_size").read_text())


@given(st.tuples(*[st.integers(min_value=0, max_value=2**63)] * 5), st.booleans())
def test_any_row_is_read_back(numbers: tuple[int, ...], is_there: bool) -> None:
    row = f"TCP {' '.join(map(str, numbers))} : tunables 0 0 0 : slabdata 1 1 0\n" if is_there else ""
    text = HEADER + "TCPv6 1 2 3 4 5 : tunables\ntw_sock_TCP 6 7 8 9 10 : tunables\n" + row
    assert parse_slab_cache(text, "TCP") == (SlabCache(*numbers) if is_there else None)


def test_a_table_with_other_columns_is_refused() -> None:
    exchanged = HEADER.replace("<active_objs> <num_objs>", "<num_objs> <active_objs>")
    with pytest.raises(MalformedTable, match=r"^/proc/slabinfo, line 2: the columns are not known"):
        parse_slab_cache(exchanged + "TCP 1 2 3 4 5 : tunables\n", "TCP")


@pytest.mark.parametrize("row", ["TCP 1 2 3 4\n", "TCP 1 2 3 4 x : tunables\n", "TCP\n"])
def test_a_malformed_row_is_refused_with_its_line(row: str) -> None:
    with pytest.raises(MalformedTable, match=r"^/proc/slabinfo, line 3: not five numbers of cache 'TCP'"):
        parse_slab_cache(HEADER + row, "TCP")


@given(st.text().map("TCP ".__add__) | st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        parse_slab_cache(text, "TCP")
