"""The receive path of all CPUs is told once, as the host's, and never goes back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.links import Pair
from lab.sockets import datagram
from lab.truth import Family
from otel_netagent.kernel.proc import processes
from otel_netagent.kernel.proc.files import MalformedTable
from otel_netagent.kernel.proc.softnet import Softnet, parse_softnet
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import softnet
from tests.probes.collected import collected

words = st.integers(min_value=0, max_value=2**32 - 1)


def of_procfs() -> list[int]:
    """Sums of the first three columns, read without any code of the agent."""
    rows = [line.split() for line in Path("/proc/net/softnet_stat").read_text().splitlines()]
    return [sum(int(row[column], 16) for row in rows) for column in range(3)]


def test_packets_are_counted_as_procfs_does_and_for_the_host_only(access: KernelAccess, pair: Pair) -> None:
    with (
        collected(softnet.PROBE, access) as probe,
        datagram(pair.client, Family.IPV4) as sender,
        datagram(pair.server, Family.IPV4) as reader,
    ):
        (host, first) = probe.rows().popitem()
        for _ in range(50):
            sender.sendto(b"x", reader.getsockname())
            reader.recv(1)
        before, rows, after = of_procfs(), probe.rows(), of_procfs()
    assert host == processes.host_netns()
    assert rows.keys() == {host}
    values = rows[host]
    names = ["softnetprocessed", "softnetdropped", "softnettimesqueeze"]
    assert [low <= values[name] <= high for low, name, high in zip(before, names, after, strict=True)] == [True] * 3
    assert values["softnetprocessed"] >= first["softnetprocessed"] + 50


def test_each_series_shows_its_own_column(access: KernelAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two CPUs, each with another number in each column, as softnet_seq_show() of the kernel writes them."""
    processed, dropped, time_squeeze = 100, 10, 1
    rows = [[processed, dropped, time_squeeze, *[7] * 9, cpu, 0, 0] for cpu in range(2)]
    text = "".join(" ".join(f"{column:08x}" for column in row) + "\n" for row in rows)
    monkeypatch.setattr(softnet, "files", SimpleNamespace(read_net=lambda _pid, _table: text))
    with collected(softnet.PROBE, access) as probe:
        ((_, values),) = probe.rows().items()
    assert values == {"softnetprocessed": 200, "softnetdropped": 20, "softnettimesqueeze": 2}


@given(st.dictionaries(st.integers(0, 1023), st.tuples(words, words, words), max_size=8), st.booleans())
def test_any_table_is_read_back(cpus: dict[int, tuple[int, int, int]], with_number: bool) -> None:
    rows = [[*counters, *[0] * 9, *([cpu, 0, 0] if with_number else [])] for cpu, counters in cpus.items()]
    text = "".join(" ".join(f"{column:08x}" for column in row) + "\n" for row in rows)
    expected = cpus if with_number else dict(enumerate(cpus.values()))
    assert parse_softnet(text) == {cpu: Softnet(*counters) for cpu, counters in expected.items()}


@pytest.mark.parametrize("text", ["00000001 00000002\n", "00000001 x 00000003\n", "\n"])
def test_a_malformed_table_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(MalformedTable, match=r"^softnet_stat, line 2: "):
        parse_softnet("00000001 00000002 00000003\n" + text, "softnet_stat")


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(MalformedTable):
        parse_softnet(text)
