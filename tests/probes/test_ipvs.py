"""IPVS's totals are read in the format of kernels 5.10 to 6.18, which is that of their source (ip_vs_stats_show)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.namespace import Namespace
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.ipvs import IpvsStats, parse_ipvs_stats
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import ipvs
from otel_netagent.probing.attach import Unavailable
from tests.probes.collected import collected, environment, have_read

words = st.integers(min_value=0, max_value=2**64 - 1)


def written(totals: tuple[int, ...], rates: tuple[int, ...] = (1, 2, 3, 4, 5)) -> str:
    """The table as the kernel writes it, from its source: no kernel with IPVS was at hand."""
    return (
        "   Total Incoming Outgoing         Incoming         Outgoing\n"
        "   Conns  Packets  Packets            Bytes            Bytes\n"
        "{:8X} {:8X} {:8X} {:16X} {:16X}\n\n"
        " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
        "{:8X} {:8X} {:8X} {:16X} {:16X}\n"
    ).format(*totals, *rates)


@given(st.tuples(words, words, words, words, words), st.tuples(words, words, words, words, words))
def test_any_totals_are_read_back(totals: tuple[int, ...], rates: tuple[int, ...]) -> None:
    assert parse_ipvs_stats(written(totals, rates)) == IpvsStats(*totals)


def test_each_series_shows_its_own_total(
    access: KernelAccess, netns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of ip_vs_stats_show() of the kernel."""
    monkeypatch.setattr(ipvs, "require", lambda _table, _remedy: None)
    have_read(monkeypatch, ipvs, written((1, 20, 300, 4000, 50000)))
    with collected(ipvs.PROBE, access) as probe:
        assert probe.rows()[netns.inode] == {
            "ipvsconnections": 1,
            "ipvsincomingpackets": 20,
            "ipvsoutgoingpackets": 300,
            "ipvsincomingbytes": 4000,
            "ipvsoutgoingbytes": 50000,
        }


@pytest.mark.parametrize("text", ["", "a\nb\n", "a\nb\n1 2 3 4\n", "a\nb\n1 2 3 4 x\n", "a\nb\n1 2 3 4 5 6\n"])
def test_a_malformed_table_is_refused(text: str) -> None:
    with pytest.raises(MalformedTable, match=r"^ip_vs_stats, line 3: not five hexadecimal numbers"):
        parse_ipvs_stats(text, "ip_vs_stats")


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        parse_ipvs_stats(text)


def test_the_probe_runs_where_the_kernel_has_ipvs_and_says_so_where_not(access: KernelAccess) -> None:
    if Path("/proc/self/net/ip_vs_stats").exists():
        assert ipvs.PROBE.start(environment(access)).hooks[0].way == "procfs"
    else:
        with pytest.raises(Unavailable, match=r"^/proc/self/net/ip_vs_stats: .*: this kernel has no IPVS"):
            ipvs.PROBE.start(environment(access))
