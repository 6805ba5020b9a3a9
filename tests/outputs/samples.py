"""Entities, snapshots and events to test outputs with: plain ones, and any that hypothesis can think of."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from otel_netagent.attribution.event import AttributedEvent
from otel_netagent.attribution.snapshot import Snapshot
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.model.attribute import Attribute, AttributeValue
from otel_netagent.model.event import Event, EventType, Severity
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution, HistogramTable, RowKey, Table, Values

NODE = "node-1"
START_NS = 1_700_000_000_000_000_000
TIME_NS = 1_700_000_500_123_456_789

OPENS = Series("inspector_pod_tcpactiveopens", Kind.COUNTER, "{connection}", "connections opened", "snmp", (), ())
ESTABLISHED = Series("inspector_pod_tcpcurrestab", Kind.GAUGE, "{connection}", "connections established", "snmp")
RTT = Series("inspector_pod_rtt", Kind.HISTOGRAM, "s", "round trips", "tcp_sock", bounds=(0.001, 0.25, 10))
DROPS = Series("inspector_pod_packetloss_total", Kind.COUNTER, "{packet}", "packets dropped", "kfree_skb", ("reason",))


def make_entity(
    netns: int = 4026534001,
    *,
    netns_cookie: int | None = None,
    kind: EntityKind = EntityKind.POD,
    pod: str = "web-0",
    namespace: str = "shop",
    start_ns: int = START_NS,
    pod_uid: str = "",
    container_id: str = "",
) -> Entity:
    cookie = netns if netns_cookie is None else netns_cookie
    return Entity(netns, cookie, kind, pod, namespace, start_ns, pod_uid, container_id)


def make_table(rows: Mapping[RowKey, Values], *series: Series, probe: str = "tcp", since_ns: int = 0) -> Table:
    return Table(probe, series or (OPENS, ESTABLISHED), rows, since_ns)


def make_snapshot(
    *tables: Table | HistogramTable, entities: tuple[Entity, ...] | None = None, time_ns: int = TIME_NS
) -> Snapshot:
    """A snapshot of these tables; without any, one pod with two series."""
    entities = entities or (make_entity(),)
    tables = tables or (make_table({(entity.netns_cookie, ()): (7, 3) for entity in entities}),)
    return Snapshot(
        time_ns,
        {entity.netns_cookie: entity for entity in entities},
        tables,
    )


TEXT = Attribute("text", str, "all of the line", before=" ")

_ADDRESSES: Mapping[str, AttributeValue] = {"source.address": "10.0.0.1", "source.port": 443}
_OF_RESET = (
    Attribute("source.address", str, "address of the source", before=" saddr="),
    Attribute("source.port", int, "port of the source", before=" sport="),
    TEXT,
)


def make_event(
    entity: Entity | None = None,
    *,
    attributes: Mapping[str, AttributeValue] | None = None,
    body: str = "",
    probe: str = "tcpreset",
    time_ns: int = TIME_NS,
    severity: Severity = Severity.WARN,
) -> AttributedEvent:
    entity = entity or make_entity()
    kind = EventType("TCPRESET_NOSOCK", "netagent.tcpreset.nosock", "no socket matches", _OF_RESET, severity)
    if attributes is None:
        attributes = {TEXT.name: body} if body else _ADDRESSES
    return AttributedEvent(Event(probe, kind, time_ns, entity.netns, entity.netns_cookie, attributes), entity)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
"""Text as the kernel may give it: control characters and lone surrogates too."""

_TIMES = st.integers(0, 2**63 - 1)
_VALUES = st.integers(0, 2**64 - 1)
_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
_LABELS = st.lists(_NAMES.map("l_{}".format), max_size=2, unique=True).map(tuple)


_ANY_NETNS = st.integers(1, 2**32 - 1)
_OF_POD = st.dictionaries(_NAMES.map("label_{}".format), ANY_TEXT, max_size=2).map(lambda each: tuple(each.items()))
"""Labels that metrics have of an entity's pod."""


def entities(netns: st.SearchStrategy[int] = _ANY_NETNS) -> st.SearchStrategy[Entity]:
    return st.builds(
        Entity,
        netns=netns,
        netns_cookie=st.integers(1, 2**64 - 1),
        kind=st.sampled_from(EntityKind),
        pod=ANY_TEXT,
        namespace=ANY_TEXT,
        start_ns=_TIMES,
        pod_uid=ANY_TEXT,
        container_id=ANY_TEXT,
        labels=_OF_POD,
    )


@st.composite
def tables(draw: st.DrawFn, cookies: tuple[int, ...], number: int) -> Table:
    """A table with series that no table of another number has."""
    labels = draw(_LABELS)
    names = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    series = tuple(
        Series(
            name=f"inspector_{number}_{name}",
            kind=draw(st.sampled_from([Kind.COUNTER, Kind.GAUGE])),
            unit=draw(st.sampled_from(["1", "By", "{packet}"])),
            help=draw(st.text(max_size=20)),
            source="test",
            labels=labels,
            aliases=draw(st.sampled_from([(), (f"alias_{number}_{name}",)])),
        )
        for name in names
    )
    keys = st.tuples(st.sampled_from(cookies), st.tuples(*(ANY_TEXT for _ in labels)))
    rows = draw(st.dictionaries(keys, st.tuples(*(_VALUES for _ in series)), max_size=3)) if cookies else {}
    return Table(draw(st.sampled_from(["tcp", "udp"])), series, rows, draw(_TIMES))


_BOUNDS = st.lists(st.floats(1e-9, 1e9), max_size=4, unique=True).map(sorted).map(tuple)


@st.composite
def histograms(draw: st.DrawFn, cookies: tuple[int, ...], number: int) -> HistogramTable:
    """A table of one histogram, that no table of another number has."""
    labels, bounds = draw(_LABELS), draw(_BOUNDS)
    series = Series(f"histogram_{number}", Kind.HISTOGRAM, "s", "sizes", "test", labels, bounds=bounds)
    counts = st.tuples(*(st.integers(0, 2**53) for _ in range(len(bounds) + 1)))
    values = st.tuples(st.builds(Distribution, counts, st.floats(0, 1e18)))
    keys = st.tuples(st.sampled_from(cookies), st.tuples(*(ANY_TEXT for _ in labels)))
    rows = draw(st.dictionaries(keys, values, max_size=3)) if cookies else {}
    return HistogramTable(draw(st.sampled_from(["tcp", "udp"])), (series,), rows, draw(_TIMES))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    known = {entity.netns_cookie: entity for entity in draw(st.lists(entities(), max_size=3))}
    cookies = tuple(known)
    return Snapshot(
        draw(_TIMES),
        known,
        tuple(draw(tables(cookies, number) | histograms(cookies, number)) for number in range(draw(st.integers(0, 5)))),
    )


def events() -> st.SearchStrategy[AttributedEvent]:
    attribute = st.one_of(ANY_TEXT, st.integers(-(2**65), 2**65))
    names = st.one_of(_NAMES, st.sampled_from([each.name for each in _OF_RESET]))
    return st.builds(
        make_event,
        # Few namespaces, so that events share an entity often enough.
        entity=entities(st.integers(1, 2)),
        attributes=st.dictionaries(names, attribute, max_size=4),
        probe=st.sampled_from(["tcpreset", "packetloss"]),
        time_ns=_TIMES,
    )
