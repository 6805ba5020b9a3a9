"""The configuration: what a file may say, and that each of its errors is told once, in one line, with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.config import Config, ConfigError, EventConfig, MetricConfig, load, parse


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(text.encode(), "c.yaml")
    return str(refused.value).split("\n")


# --- What is accepted


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert Config() == Config(
        metric=MetricConfig(enable=True, port=9102, interval=5, probes=()),
        event=EventConfig(enable=True, port=19102, probes=(), infotolog=True),
    )


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "{}", "null", "metric_config:\nevent_config:\n", "metric_config:\n  port:\n  probes:\n"],
)
def test_what_is_not_said_has_its_default(text: str) -> None:
    assert parse(text.encode(), "c.yaml") == Config()


def test_every_key_is_obeyed() -> None:
    text = """
    metric_config: {enable: no, port: 9200, interval: 1.5, probes: [tcp, udp]}
    event_config: {enable: off, port: 19200, probes: [packetloss], infotolog: false}
    """
    assert parse(text.encode(), "c.yaml") == Config(
        metric=MetricConfig(enable=False, port=9200, interval=1.5, probes=("tcp", "udp")),
        event=EventConfig(enable=False, port=19200, probes=("packetloss",), infotolog=False),
    )


def test_probes_may_be_spelled_as_in_the_twin_and_count_once() -> None:
    text = "metric_config: {probes: [{name: tcp}, udp, tcp, {name: no-such-probe}]}"
    assert parse(text.encode(), "c.yaml").metric.probes == ("tcp", "udp", "no-such-probe")


def test_keys_that_are_not_supported_yet_may_have_their_default() -> None:
    text = """
    debugmode: false
    metric_config: {verbose: false, expose_labels: []}
    event_config: {loki_enable: false, loki_address: ""}
    """
    assert parse(text.encode(), "c.yaml") == Config()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Config().metric.port = 1  # pydantic, and not the type checker, must refuse it


# --- What is refused


KEYS = "debugmode, event_config, metric_config"
METRIC_KEYS = "enable, expose_labels, interval, port, probes, verbose"
A_PORT = "a whole number from 1 to 65535"
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
        ("event_config: {probes: tcp}", "1: event_config.probes: tcp is not a list of names of probes"),
        ("event_config:\n  probes:\n  - tcp\n  - 3", "4: event_config.probes[1]: 3 is not the name of a probe"),
        ("event_config: {probes: ['']}", '1: event_config.probes[0]: "" is not the name of a probe'),
        (
            "event_config: {probes: [{name: tcp, args: 1}]}",
            "1: event_config.probes[0]: a mapping is not the name of a probe",
        ),
        (
            "debugmode: true",
            "1: debugmode: true is not supported by this version; leave it out, or at its default false",
        ),
        (
            "event_config:\n  loki_address: loki",
            '2: event_config.loki_address: loki is not supported by this version; leave it out, or at its default ""',
        ),
        (
            "metric_config: {expose_labels: [{source: app, type: label}]}",
            "1: metric_config.expose_labels: a list is not supported by this version; "
            "leave it out, or at its default []",
        ),
        (
            "metric_config: {verbose: 0}",
            "1: metric_config.verbose: 0 is not supported by this version; leave it out, or at its default false",
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
  loki_enable: true
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


# --- Any file


def ports(parity: int) -> st.SearchStrategy[int]:
    return st.integers(1, 65535).filter(lambda port: port % 2 == parity)


probes = st.lists(st.text(min_size=1), max_size=4, unique=True).map(tuple)
configurations = st.builds(
    Config,
    metric=st.builds(
        MetricConfig,
        enable=st.booleans(),
        port=ports(0),
        interval=st.floats(1, 3600) | st.integers(1, 3600),
        probes=probes,
    ),
    event=st.builds(EventConfig, enable=st.booleans(), port=ports(1), probes=probes, infotolog=st.booleans()),
)


@given(configurations, st.sampled_from([yaml.safe_dump, json.dumps]))
def test_a_configuration_that_is_written_is_read_back(config: Config, write: Callable[[object], str]) -> None:
    sections = config.model_dump(mode="json")
    text = write({"metric_config": sections["metric"], "event_config": sections["event"]})
    assert parse(text.encode(), "c.yaml") == config


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
        "name",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-1, 70000) | st.integers() | st.floats() | st.text() | names
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=5)
)
sections = st.dictionaries(names, anything, max_size=5)
likely_files = st.dictionaries(st.sampled_from(["metric_config", "event_config"]), sections | anything)


@given(likely_files | anything)
def test_any_file_is_a_configuration_or_its_errors_are_lines(content: object) -> None:
    try:
        parse(yaml.safe_dump(content).encode(), "c.yaml")
    except ConfigError as error:
        lines = str(error).split("\n")
        assert all(re.match(r"c\.yaml:(\d+:)? \S", line) for line in lines)
        assert len(lines) == len(set(lines))
