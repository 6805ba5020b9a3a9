"""The configuration: what a file may say, and that each of its errors is told once, in one line, with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from otel_netagent.config import reading
from otel_netagent.config.reading import ConfigError, read
from otel_netagent.config.schema import Config, EventConfig, ExposedLabel, KnownNames, MetricConfig, differences

KNOWN = KnownNames(
    metric_probes={"tcp": "tcp", "udp": "udp", "virtcmdlat": "virtcmdlat", "virtcmdlatency": "virtcmdlat"},
    event_probes={"packetloss": "packetloss", "tcpreset": "tcpreset"},
    thresholds={"RXKERNEL_SLOW": "RXKERNEL_SLOW", "RX_SLOW": "RXKERNEL_SLOW", "TXKERNEL_SLOW": "TXKERNEL_SLOW"},
    labels={"reason"},
)


def parse(data: bytes, file: str, known: KnownNames = KNOWN) -> Config:
    parsed = reading.parse(data, file, known)
    assert not parsed.warnings
    return parsed.config


def warnings_of(text: str) -> tuple[str, ...]:
    return reading.parse(text.encode(), "c.yaml", KNOWN).warnings


def load(path: Path | None, places: Sequence[Path] = ()) -> Config:
    return read(path, places).parsed(KNOWN).config


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(text.encode(), "c.yaml")
    return str(refused.value).split("\n")


# --- What is accepted


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert Config() == Config(
        debugmode=False,
        enable_legacy_version=False,
        metric=MetricConfig(enable=True, port=9102, interval=5, probes=(), aliases=True, timestamps=True),
        event=EventConfig(
            enable=True,
            port=19102,
            probes=(),
            infotolog=True,
            thresholds={},
            events_per_second=100,
            expected=False,
        ),
    )


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "{}", "null", "metric_config:\nevent_config:\n", "metric_config:\n  port:\n  probes:\n"],
)
def test_what_is_not_said_has_its_default(text: str) -> None:
    assert parse(text.encode(), "c.yaml") == Config()


def test_every_key_is_obeyed() -> None:
    text = """
    debugmode: true
    enable_legacy_version: true
    metric_config: {enable: no, port: 9200, interval: 1.5, probes: [tcp, udp], aliases: false, timestamps: false}
    event_config:
      {enable: off, port: 19200, probes: [packetloss], infotolog: false, thresholds: {RXKERNEL_SLOW: 20},
       events_per_second: 7, expected: true}
    """
    assert parse(text.encode(), "c.yaml") == Config(
        debugmode=True,
        enable_legacy_version=True,
        metric=MetricConfig(
            enable=False, port=9200, interval=1.5, probes=("tcp", "udp"), aliases=False, timestamps=False
        ),
        event=EventConfig(
            enable=False,
            port=19200,
            probes=("packetloss",),
            infotolog=False,
            thresholds={"RXKERNEL_SLOW": 20},
            events_per_second=7,
            expected=True,
        ),
    )


def test_probes_may_be_spelled_as_in_the_twin_and_count_once() -> None:
    text = "metric_config: {probes: [{name: tcp}, udp, tcp, {name: udp}]}"
    assert parse(text.encode(), "c.yaml").metric.probes == ("tcp", "udp")


def test_the_old_name_of_a_key_means_the_same() -> None:
    assert parse(b"event_config: {harmless: true}", "c.yaml") == Config(event=EventConfig(expected=True))
    assert list(differences(Config(), parse(b"event_config: {harmless: true}", "c.yaml"))) == [
        "event_config.expected false -> true"
    ]


def test_both_names_of_a_key_are_refused_whatever_they_say() -> None:
    remedy = "is the old name of expected; this section has both: remove harmless"
    for text in ("expected: true\n  harmless: true", "expected: true\n  harmless: false"):
        assert problems_of(f"event_config:\n  {text}\n") == [f"c.yaml:3: event_config.harmless: {remedy}"]
    assert parse(b"event_config: {expected: true, harmless: }", "c.yaml").event.expected


def test_a_wrong_value_is_reported_by_the_name_that_the_file_uses() -> None:
    assert problems_of("event_config: {harmless: 5}") == ["c.yaml:1: event_config.harmless: 5 is not true or false"]


def test_an_alias_means_the_same_and_counts_once() -> None:
    text = "{metric_config: {probes: [virtcmdlatency, virtcmdlat]}, event_config: {thresholds: {RX_SLOW: 5}}}"
    config = parse(text.encode(), "c.yaml")
    assert (config.metric.probes, config.event.thresholds) == (("virtcmdlat",), {"RXKERNEL_SLOW": 5})


def test_labels_may_be_chosen_as_in_the_twin() -> None:
    text = """
    metric_config:
      verbose: true
      expose_labels:
      - {source: ip, type: meta}
      - {source: app.kubernetes.io/name, type: label, replace: app}
      - {source: k8s-app, type: label, replace: }
      - {source: netns, type: meta}
    """
    labels = parse(text.encode(), "c.yaml").metric.expose_labels
    assert [(label.name, label.type, label.source) for label in labels] == [
        ("ip", "meta", "ip"),
        ("app", "label", "app.kubernetes.io/name"),
        ("k8s_app", "label", "k8s-app"),
        ("netns", "meta", "netns"),
    ]
    assert [label.changes_nothing for label in labels] == [False, False, False, True]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Config().metric.port = 1  # pydantic, and not the type checker, must refuse it


# --- What is refused


A_DIRECTORY = "an absolute path, or empty for none"
KEYS = "debugmode, delivery, enable_legacy_version, event_config, metric_config"
METRIC_KEYS = "aliases, enable, expose_labels, interval, port, probes, timestamps, verbose"
METRIC_PROBES = "allowed here: tcp, udp, virtcmdlat"
SLOW = "a type of event with a threshold"
MILLISECONDS = "a whole number of milliseconds from 1 to 3600000"
A_PORT = "a whole number from 1 to 65535"
EXPOSED = "a list of at most 20 mappings with source and type"
SECONDS = "a number of seconds from 1 to 3600"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("metrics_config: {}", f"1: metrics_config: unknown key; did you mean metric_config? allowed here: {KEYS}"),
        ("x: {}", f"1: x: unknown key; allowed here: {KEYS}"),
        ("metric: {}", f"1: metric: unknown key; did you mean metric_config? allowed here: {KEYS}"),
        (
            "metric_config:\n  prot: 9102",
            f"2: metric_config.prot: unknown key; did you mean port? allowed here: {METRIC_KEYS}",
        ),
        ("[]", f"1: the document: a list is not a mapping with the keys {KEYS}"),
        ("metric_config: 7", f"1: metric_config: 7 is not a mapping with the keys {METRIC_KEYS}"),
        ("metric_config: {port: 0}", f"1: metric_config.port: 0 is not {A_PORT}"),
        ("metric_config: {port: 65536}", f"1: metric_config.port: 65536 is not {A_PORT}"),
        ("metric_config: {port: 91.5}", f"1: metric_config.port: 91.5 is not {A_PORT}"),
        ("metric_config: {port: yes}", f"1: metric_config.port: yes is not {A_PORT}"),
        ('metric_config: {port: "9102"}', f'1: metric_config.port: "9102" is not {A_PORT}; write it without quotes'),
        ("metric_config: {interval: 0}", f"1: metric_config.interval: 0 is not {SECONDS}"),
        ("metric_config: {interval: 0.5}", f"1: metric_config.interval: 0.5 is not {SECONDS}"),
        ("metric_config: {interval: 5s}", f"1: metric_config.interval: 5s is not {SECONDS}"),
        ("metric_config: {interval: .nan}", f"1: metric_config.interval: .nan is not {SECONDS}"),
        ("metric_config: {interval: true}", f"1: metric_config.interval: true is not {SECONDS}"),
        (
            "metric_config: {interval: '5'}",
            f'1: metric_config.interval: "5" is not {SECONDS}; write it without quotes',
        ),
        ("event_config: {enable: 1}", "1: event_config.enable: 1 is not true or false"),
        (
            'event_config: {enable: "yes"}',
            '1: event_config.enable: "yes" is not true or false; write it without quotes',
        ),
        ("delivery: {spool_directory: spool}", f"1: delivery.spool_directory: spool is not {A_DIRECTORY}"),
        ("delivery: {spool_megabytes: 0}", "1: delivery.spool_megabytes: 0 is not a whole number from 1 to 1000000"),
        ("delivery: {flush_seconds: -1}", "1: delivery.flush_seconds: -1 is not a number of seconds from 0 to 60"),
        ("event_config: {probes: tcp}", "1: event_config.probes: tcp is not a list of names of probes"),
        ("event_config:\n  probes:\n  - tcpreset\n  - 3", "4: event_config.probes[1]: 3 is not the name of a probe"),
        ("event_config: {probes: ['']}", '1: event_config.probes[0]: "" is not the name of a probe'),
        (
            "event_config: {probes: [{name: tcp, args: 1}]}",
            "1: event_config.probes[0]: a mapping is not the name of a probe",
        ),
        (
            "event_config:\n  thresholds:\n    TXKERNEL_SLOW: 5\n    RXKERNEL_SLO: 5",
            f"4: event_config.thresholds.RXKERNEL_SLO: RXKERNEL_SLO is not {SLOW}; did you mean RXKERNEL_SLOW? "
            "allowed here: RXKERNEL_SLOW, TXKERNEL_SLOW",
        ),
        (
            "event_config: {thresholds: {PACKETLOSS: 5}}",
            f"1: event_config.thresholds.PACKETLOSS: PACKETLOSS is not {SLOW}; "
            "allowed here: RXKERNEL_SLOW, TXKERNEL_SLOW",
        ),
        (
            "event_config: {thresholds: {RXKERNEL_SLOW: 1.5}}",
            f"1: event_config.thresholds.RXKERNEL_SLOW: 1.5 is not {MILLISECONDS}",
        ),
        (
            "event_config: {thresholds: {RXKERNEL_SLOW: 0}}",
            f"1: event_config.thresholds.RXKERNEL_SLOW: 0 is not {MILLISECONDS}",
        ),
        (
            'event_config: {thresholds: {RXKERNEL_SLOW: "5"}}',
            f'1: event_config.thresholds.RXKERNEL_SLOW: "5" is not {MILLISECONDS}; write it without quotes',
        ),
        (
            "event_config: {thresholds: [RXKERNEL_SLOW]}",
            "1: event_config.thresholds: a list is not a mapping from types of events to milliseconds",
        ),
        (
            "event_config: {events_per_second: 0}",
            "1: event_config.events_per_second: 0 is not a whole number from 1 to 1000000",
        ),
        ("debugmode: 1", "1: debugmode: 1 is not true or false"),
        (
            "event_config:\n  loki_address: loki:port",
            "2: event_config.loki_address: loki:port is not an address of Loki; "
            "write loki, loki:3100 or https://loki.example/path",
        ),
        (
            "event_config: {loki_address: 'https://me:secret@loki'}",
            "1: event_config.loki_address: credentials do not belong in an address; "
            "set LOKI_AUTHORIZATION in the environment",
        ),
        ("metric_config: {verbose: 0}", "1: metric_config.verbose: 0 is not true or false"),
        ("metric_config: {expose_labels: app}", f"1: metric_config.expose_labels: app is not {EXPOSED}"),
        (
            f"metric_config: {{expose_labels: {[{'source': f'l{n}', 'type': 'label'} for n in range(21)]}}}",
            f"1: metric_config.expose_labels: a list is not {EXPOSED}",
        ),
        (
            "metric_config: {expose_labels: [app]}",
            "1: metric_config.expose_labels[0]: app is not a mapping with the keys replace, source, type",
        ),
        (
            "metric_config:\n  expose_labels:\n  - source: app",
            "3: metric_config.expose_labels[0].type: is missing; set it to meta or label",
        ),
        (
            "metric_config: {expose_labels: [{source: app, type: annotation}]}",
            "1: metric_config.expose_labels[0].type: annotation is not meta or label",
        ),
        (
            "metric_config:\n  expose_labels:\n  - source: app\n    type: label\n    name: x",
            "5: metric_config.expose_labels[0].name: unknown key; allowed here: replace, source, type",
        ),
        (
            'metric_config: {expose_labels: [{source: "i\\np", type: meta}]}',
            "1: metric_config.expose_labels[0]: i\\np is not a source of type meta; did you mean ip? "
            "allowed here: ip, netns, workload, workload_kind",
        ),
        (
            "metric_config: {expose_labels: [{source: app, type: label, replace: 2nd}]}",
            "1: metric_config.expose_labels[0]: 2nd is not a valid label name; set replace to one: letters, digits, _",
        ),
        (
            "metric_config: {expose_labels: [{source: app, type: label, replace: __app}]}",
            "1: metric_config.expose_labels[0]: __app is not a valid label name; "
            "set replace to one: letters, digits, _",
        ),
        (
            "metric_config: {expose_labels: [{source: ip, type: meta, replace: pod}]}",
            "1: metric_config.expose_labels[0]: pod is a label that series have already; set replace to another name",
        ),
        (
            "metric_config: {expose_labels: [{source: reason, type: label}]}",
            "1: metric_config.expose_labels[0]: reason is a label that series have already; "
            "set replace to another name",
        ),
        (
            "metric_config: {expose_labels: [{source: a-b, type: label}, {source: a/b, type: label}]}",
            "1: metric_config.expose_labels: two items are called a_b; set replace of one of them to another name",
        ),
        ("metric_config:\n  port: 1\n  port: 2", "3: metric_config.port: given twice, first in line 2"),
        ("a: [", "1: not valid YAML: expected the node content, but found '<stream end>'"),
        (
            "metric_config: {port: 19102}",
            " metric_config.port and event_config.port are both 19102; give one of them another port",
        ),
    ],
)
def test_an_error_is_one_line_that_says_what_where_and_what_is_allowed(text: str, line: str) -> None:
    assert problems_of(text) == [f"c.yaml:{line}"]


def test_all_errors_of_a_file_are_told_at_once() -> None:
    text = """\
metric_config:
  enable: "no"
  port: 9000
  interval: -1
event_config:
  port: 9000
  prots: 9000
  loki_enable: 1
  loki_enable: true
"""
    places = [
        "c.yaml: metric_config.port and event_config.port are both 9000",
        "c.yaml:2: metric_config.enable",
        "c.yaml:4: metric_config.interval",
        "c.yaml:7: event_config.prots",
        "c.yaml:8: event_config.loki_enable",
        "c.yaml:9: event_config.loki_enable",
    ]
    lines = problems_of(text)
    assert len(lines) == len(places)
    assert all(line.startswith(place) for line, place in zip(lines, places, strict=True))


# --- What is warned of


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "metric_config:\n  probes:\n  - tcp\n  - tpc",
            [f"4: metric_config.probes[1]: tpc is not a probe with metrics; did you mean tcp? {METRIC_PROBES}"],
        ),
        (
            "metric_config: {probes: [udp, {name: packetloss}]}",
            [f"1: metric_config.probes[1]: packetloss is not a probe with metrics; {METRIC_PROBES}"],
        ),
        (
            'event_config: {probes: [tcp, "a\\nb"]}',
            [
                "1: event_config.probes[0]: tcp is not a probe with events; allowed here: packetloss, tcpreset",
                "1: event_config.probes[1]: a\\nb is not a probe with events; allowed here: packetloss, tcpreset",
            ],
        ),
        (
            "metric_config:\n  expose_labels: [{source: app, type: label}]",
            [
                "2: metric_config.expose_labels: has no effect without metric_config.verbose; "
                "set that to true, or remove this key"
            ],
        ),
    ],
)
def test_what_is_asked_for_in_vain_is_a_line_and_stops_nothing(text: str, lines: Sequence[str]) -> None:
    assert warnings_of(text) == tuple(f"c.yaml:{line}" for line in lines)


def test_a_name_that_is_of_no_probe_stays_asked_for() -> None:
    """Were it left out, a list of nothing else would ask for the necessary probes."""
    config = reading.parse(b"metric_config: {probes: [tpc]}", "c.yaml", KNOWN).config
    assert config.metric.probes == ("tpc",)


# --- Where it is


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("metric_config: {port: 1}")
    assert load(file).metric.port == 1
    file.write_text("metric_config: {port: 0}")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}:1: metric_config.port: 0 is not "):
        load(file)


def test_the_first_place_that_has_a_file_counts(tmp_path: Path) -> None:
    places = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert load(None, places) == Config()
    places[1].write_text("metric_config: {port: 2}")
    assert load(None, places).metric.port == 2
    places[0].write_text("metric_config: {port: 1}")
    assert load(None, places).metric.port == 1


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigError, match=f"^{re.escape(str(missing))}: cannot be read: No such file or directory$"):
        load(missing)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(tmp_path))}: cannot be read: Is a directory$"):
        load(tmp_path)


def test_what_is_too_large_for_a_configuration_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"#" * (1 << 20))
    assert load(file) == Config()
    file.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: cannot be read: larger than 1048576 bytes$"):
        load(file)


# --- Any file


def ports(parity: int) -> st.SearchStrategy[int]:
    return st.integers(1, 65535).filter(lambda port: port % 2 == parity)


def probes(known: Mapping[str, str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(sorted(set(known.values()))), unique=True).map(tuple)


def exposed(names: Sequence[str]) -> tuple[ExposedLabel, ...]:
    items = [{"source": "ip", "type": "meta"}, {"source": "a.io/b", "type": "label"}, {"source": "c", "type": "label"}]
    named = ({**item, "replace": name} for item, name in zip(items, names, strict=False))
    return tuple(map(ExposedLabel.model_validate, named))


verbose_or_not = st.sampled_from([(False, ()), (True, ())]) | st.lists(
    st.from_regex(r"l_[a-z]{1,3}", fullmatch=True), max_size=3, unique=True
).map(lambda names: (True, exposed(names)))


configurations = st.builds(
    Config,
    debugmode=st.booleans(),
    enable_legacy_version=st.booleans(),
    metric=st.builds(
        lambda labels, **settings: MetricConfig(verbose=labels[0], expose_labels=labels[1], **settings),
        verbose_or_not,
        enable=st.booleans(),
        port=ports(0),
        interval=st.floats(1, 3600) | st.integers(1, 3600),
        probes=probes(KNOWN.metric_probes),
        aliases=st.booleans(),
        timestamps=st.booleans(),
    ),
    event=st.builds(
        EventConfig,
        enable=st.booleans(),
        port=ports(1),
        probes=probes(KNOWN.event_probes),
        infotolog=st.booleans(),
        thresholds=st.dictionaries(st.sampled_from(sorted(set(KNOWN.thresholds.values()))), st.integers(1, 3_600_000)),
        events_per_second=st.integers(1, 1_000_000),
        expected=st.booleans(),
    ),
)


@given(configurations, st.sampled_from([yaml.safe_dump, json.dumps]))
def test_a_configuration_that_is_written_is_read_back(config: Config, write: Callable[[object], str]) -> None:
    sections = config.model_dump(mode="json")
    as_in_files = {"metric": "metric_config", "event": "event_config"}
    text = write({as_in_files.get(key, key): section for key, section in sections.items()})
    assert parse(text.encode(), "c.yaml") == config


@given(configurations, configurations)
def test_two_configurations_differ_in_what_is_told_and_in_nothing_else(first: Config, second: Config) -> None:
    told = list(differences(first, second))
    assert (told == []) == (first == second)
    keys = [line.partition(" ")[0] for line in told]
    assert ("event_config.port" in keys) == (first.event.port != second.event.port)
    assert ("metric_config.probes" in keys) == (first.metric.probes != second.metric.probes)


def test_differences_are_told_as_the_file_spells_them() -> None:
    first = Config(metric=MetricConfig(interval=5, probes=("tcp", "udp")))
    second = Config(
        debugmode=True,
        metric=MetricConfig(interval=2.5, verbose=True, expose_labels=(ExposedLabel(source="ip", type="meta"),)),
        event=EventConfig(port=1, thresholds={"RXKERNEL_SLOW": 20}),
    )
    assert list(differences(first, second)) == [
        "debugmode false -> true",
        "metric_config.interval 5 -> 2.5",
        "metric_config.probes [tcp, udp] -> []",
        "metric_config.verbose false -> true",
        "metric_config.expose_labels [] -> [ip from meta ip]",
        "event_config.port 19102 -> 1",
        "event_config.thresholds {} -> {RXKERNEL_SLOW: 20}",
    ]


names = st.sampled_from(
    [
        "metric_config",
        "event_config",
        "debugmode",
        "enable",
        "port",
        "interval",
        "probes",
        "infotolog",
        "verbose",
        "expose_labels",
        "source",
        "type",
        "replace",
        "name",
        "thresholds",
        "RXKERNEL_SLOW",
        "expected",
        "harmless",
        "delivery",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-1, 70000) | st.integers() | st.floats() | st.text() | names
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=5)
)
sections = st.dictionaries(names, anything, max_size=5)
likely_files = st.dictionaries(st.sampled_from(["metric_config", "event_config"]), sections | anything)


@given(likely_files | anything)
@example({"event_config": {"thresholds": {"\n": None}}})
def test_any_file_is_a_configuration_or_its_errors_are_lines(content: object) -> None:
    try:
        lines = list(warnings_of(yaml.safe_dump(content)))
    except ConfigError as error:
        lines = str(error).split("\n")
        assert lines
    assert all(re.match(r"c\.yaml:(\d+:)? \S", line) for line in lines)
    assert len(lines) == len(set(lines))
