"""The Prometheus text, read back by the parser of the Prometheus client."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution, HistogramTable, RowKey, Table
from otel_netagent.outputs.http.prometheus import PrometheusText, escape_help, escape_label_value
from otel_netagent.unicode import well_formed
from tests.outputs.samples import (
    ANY_TEXT,
    DROPS,
    NODE,
    OPENS,
    RTT,
    make_entity,
    make_snapshot,
    make_table,
    snapshots,
)

LABELS = 'namespace="shop",netns="ns4026534001",node="node-1",pod="web-0"'


def render(snapshot: Snapshot, *, timestamps: bool = True, aliases: bool = True) -> str:
    return b"".join(PrometheusText(NODE, timestamps=timestamps, aliases=aliases).render(snapshot)).decode()


def test_text_is_in_the_originals_shape() -> None:
    drops = make_table({(4026534001, ("NO_SOCKET",)): (12,)}, DROPS, probe="packetloss")
    snapshot = make_snapshot(make_table({(4026534001, ()): (7, 3)}), drops)
    assert render(snapshot) == (
        "# HELP inspector_pod_tcpactiveopens connections opened\n"
        "# TYPE inspector_pod_tcpactiveopens counter\n"
        f"inspector_pod_tcpactiveopens{{{LABELS}}} 7 1700000500123\n"
        "# HELP inspector_pod_tcpcurrestab connections established\n"
        "# TYPE inspector_pod_tcpcurrestab gauge\n"
        f"inspector_pod_tcpcurrestab{{{LABELS}}} 3 1700000500123\n"
        "# HELP inspector_pod_packetloss_total packets dropped\n"
        "# TYPE inspector_pod_packetloss_total counter\n"
        f'inspector_pod_packetloss_total{{{LABELS},reason="NO_SOCKET"}} 12 1700000500123\n'
    )


def test_buckets_of_a_histogram_are_cumulative() -> None:
    rows: dict[RowKey, tuple[Distribution, ...]] = {(4026534001, ()): (Distribution((1, 0, 5, 2), 3.5),)}
    assert render(make_snapshot(HistogramTable("tcpsummary", (RTT,), rows))) == (
        "# HELP inspector_pod_rtt round trips\n"
        "# TYPE inspector_pod_rtt histogram\n"
        f'inspector_pod_rtt_bucket{{{LABELS},le="0.001"}} 1 1700000500123\n'
        f'inspector_pod_rtt_bucket{{{LABELS},le="0.25"}} 1 1700000500123\n'
        f'inspector_pod_rtt_bucket{{{LABELS},le="10"}} 6 1700000500123\n'
        f'inspector_pod_rtt_bucket{{{LABELS},le="+Inf"}} 8 1700000500123\n'
        f"inspector_pod_rtt_sum{{{LABELS}}} 3.5 1700000500123\n"
        f"inspector_pod_rtt_count{{{LABELS}}} 8 1700000500123\n"
    )


def test_timestamps_can_be_left_out() -> None:
    assert f"inspector_pod_tcpactiveopens{{{LABELS}}} 7\n" in render(make_snapshot(), timestamps=False)


def test_aliases_are_families_of_their_own() -> None:
    series = Series("inspector_pod_a", Kind.COUNTER, "1", "of a", "test", (), ("inspector_pod_b",))
    snapshot = make_snapshot(make_table({(4026534001, ()): (5,)}, series))
    assert render(snapshot).splitlines()[3:] == [
        "# HELP inspector_pod_b of a",
        "# TYPE inspector_pod_b counter",
        f"inspector_pod_b{{{LABELS}}} 5 1700000500123",
    ]
    assert "inspector_pod_b" not in render(snapshot, aliases=False)


def test_family_of_two_tables_has_one_header_and_is_not_torn_apart() -> None:
    tables = [make_table({(netns, ()): (1,)}, OPENS) for netns in (1, 2)]
    lines = render(make_snapshot(*tables, entities=(make_entity(1), make_entity(2)))).splitlines()
    assert [line.split("{")[0] for line in lines[2:]] == [OPENS.name, OPENS.name]


def test_table_without_rows_leaves_nothing() -> None:
    assert render(make_snapshot(make_table({}))) == ""


def test_changed_identity_shows_at_once_and_gone_entity_no_longer() -> None:
    text = PrometheusText(NODE)
    unknown = make_entity(pod="ns4026534001", namespace="netns")
    [*text.render(make_snapshot(entities=(unknown, make_entity(2, pod="other"))))]
    named = b"".join(text.render(make_snapshot(entities=(make_entity(pod="web-7"),)))).decode()
    assert 'pod="web-7"' in named
    assert 'ns4026534001",node' in named
    assert "other" not in named
    assert 'pod="ns4026534001"' not in named


@given(ANY_TEXT)
def test_escaped_label_value_is_read_back(text: str) -> None:
    line = f'a{{x="{escape_label_value(text)}"}} 1\n'
    [family] = text_string_to_metric_families(line)
    assert family.samples[0].labels == {"x": well_formed(text)}


@given(ANY_TEXT)
def test_escaped_help_is_read_back(text: str) -> None:
    # Bars, since the parser strips white space.
    [family] = text_string_to_metric_families(f"# HELP a |{escape_help(text)}|\n# TYPE a gauge\na 1\n")
    assert family.documentation == f"|{well_formed(text)}|"


@given(snapshots())
def test_every_point_is_read_back(snapshot: Snapshot) -> None:
    found = [
        (family.name, family.type, sample.name, sample.labels, sample.value, sample.timestamp)
        for family in text_string_to_metric_families(render(snapshot))
        for sample in family.samples
    ]
    assert found == [sample for table in snapshot.tables for sample in expected_samples(snapshot, table)]


def expected_samples(snapshot: Snapshot, table: Table | HistogramTable) -> Iterator[tuple[object, ...]]:
    return (
        expected_histogram(snapshot, table) if isinstance(table, HistogramTable) else expected_numbers(snapshot, table)
    )


def expected_numbers(snapshot: Snapshot, table: Table) -> Iterator[tuple[object, ...]]:
    for column, series in enumerate(table.series):
        for name in (series.name, *series.aliases):
            # The parser adds to a counter's name; it is not in the text.
            sample = f"{name}_total" if series.kind is Kind.COUNTER else name
            for key, values in table.rows.items():
                labels = expected_labels(snapshot, table.labels, key)
                yield name, series.kind.value, sample, labels, values[column], expected_time(snapshot)


def expected_histogram(snapshot: Snapshot, table: HistogramTable) -> Iterator[tuple[object, ...]]:
    [series] = table.series
    for key, [distribution] in table.rows.items():
        labels, time = expected_labels(snapshot, table.labels, key), expected_time(snapshot)
        count = 0
        for bound, here in zip((*map(str, series.bounds), "+Inf"), distribution.counts, strict=True):
            count += here
            yield series.name, "histogram", f"{series.name}_bucket", labels | {"le": bound}, count, time
        yield series.name, "histogram", f"{series.name}_sum", labels, distribution.sum, time
        yield series.name, "histogram", f"{series.name}_count", labels, count, time


def expected_labels(snapshot: Snapshot, names: tuple[str, ...], key: RowKey) -> dict[str, str]:
    cookie, values = key
    entity = snapshot.entities[cookie]
    return {
        "namespace": well_formed(entity.namespace),
        "netns": f"ns{entity.netns}",
        "node": NODE,
        "pod": well_formed(entity.pod),
        **{name: well_formed(value) for name, value in entity.labels},
        **{name: well_formed(value) for name, value in zip(names, values, strict=True)},
    }


def expected_time(snapshot: Snapshot) -> float:
    return snapshot.time_ns // 1_000_000 / 1000
