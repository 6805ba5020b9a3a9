"""Names of labels are valid, none is lost to another, and there are never too many."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.metric_labels import (
    LONGEST_NAME,
    LONGEST_VALUE,
    MOST_LABELS,
    RESERVED,
    Chosen,
    ChosenLabels,
    all_labels,
    prometheus_names,
)
from otel_netagent.identity.naming import Labelled
from otel_netagent.identity.pod import Pod, Workload
from otel_netagent.probes import catalogue
from otel_netagent.probing.occurrences import EVENTS

_VALID = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
"""Prometheus data model, "Metric names and labels"."""

KEYS = st.text("aB0._-/é\n", min_size=1, max_size=4) | st.from_regex(r"a[._-]b(_conflict[12])?", fullmatch=True)
LABELS = st.dictionaries(KEYS, st.text(max_size=LONGEST_VALUE + 3), max_size=2 * MOST_LABELS)


def pod_of(labels: Mapping[str, str], ip: str = "10.1.17.40") -> Pod:
    return Pod("uid", "web-0", "shop", ip, labels, Workload("Deployment", "web"))


ENTITY = Entity(4026532001, 7, EntityKind.POD, "web-0", "shop", 0, "uid", workload=Workload("Deployment", "web"))


@given(st.sets(KEYS))
@example({"a.b", "a-b", "a_b_conflict1", "a_b_conflict2", "aB", "a_b"})
def test_every_key_has_a_valid_name_of_its_own(keys: set[str]) -> None:
    names = prometheus_names(keys)
    assert names.keys() == keys
    assert len(set(names.values())) == len(keys)
    assert all(_VALID.fullmatch(name) and name.startswith("label_") for name in names.values())


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["app.kubernetes.io/name"], ["label_app_kubernetes_io_name"]),
        (["k8s-app", "podTemplate"], ["label_k8s_app", "label_pod_template"]),
        (["a/b", "a-b"], ["label_a_b_conflict2", "label_a_b_conflict1"]),
        (["foo", "foo_"], ["label_foo", "label_foo_"]),
    ],
)
def test_names_are_those_of_kube_state_metrics(keys: list[str], names: list[str]) -> None:
    """From its tests, `internal/store/utils_test.go` and `pod_test.go`, and by its rules."""
    assert [prometheus_names(keys)[key] for key in keys] == names


@given(LABELS)
def test_all_labels_are_told_but_for_what_is_counted(labels: dict[str, str]) -> None:
    (first, *told), left_out = all_labels(ENTITY, pod_of(labels))
    assert first == ("ip", "10.1.17.40")
    assert len(told) + left_out == len([value for value in labels.values() if value])
    assert len(told) <= MOST_LABELS
    assert len(dict(told)) == len(told)
    assert all(len(name) <= LONGEST_NAME and 0 < len(value) <= LONGEST_VALUE for name, value in told)


def test_what_is_too_long_or_one_too_many_is_left_out_and_the_rest_is_not() -> None:
    many = {f"l{number:02}": "x" for number in range(MOST_LABELS)}
    labels, left_out = all_labels(ENTITY, pod_of({**many, "a" * 200: "x", "z": "x", "b": "x" * 64}))
    assert left_out == 3
    assert [name for name, _ in labels[1:]] == [f"label_{key}" for key in many]


def test_names_of_128_and_values_of_63_characters_are_the_longest() -> None:
    """The longest value is Kubernetes' own limit (validation.LabelValueMaxLength)."""
    longest, value = "a" * (128 - len("label_")), "x" * 63
    labels, left_out = all_labels(ENTITY, pod_of({longest: value, f"{longest}a": "x", "b": f"{value}x"}))
    assert labels[1:] == ((f"label_{longest}", value),)
    assert left_out == 2
    choose = ChosenLabels((Chosen("app", "app", meta=False),))
    assert choose(ENTITY, pod_of({"app": value})) == Labelled((("app", value),))
    assert choose(ENTITY, pod_of({"app": f"{value}x"})) == Labelled((), left_out=1)


def test_a_pod_has_20_of_its_labels_at_most() -> None:
    twenty = {f"l{number:02}": "x" for number in range(20)}
    labels, left_out = all_labels(ENTITY, pod_of(twenty))
    assert (len(labels), left_out) == (1 + 20, 0)
    labels, left_out = all_labels(ENTITY, pod_of({**twenty, "l20": "x"}))
    assert (len(labels), left_out) == (1 + 20, 1)


def test_a_pod_without_an_address_and_an_entity_without_a_pod() -> None:
    assert all_labels(ENTITY, pod_of({}, ip="")) == Labelled(())
    assert all_labels(ENTITY, None) == Labelled(())


def test_chosen_labels_and_no_others() -> None:
    choose = ChosenLabels(
        (
            Chosen("app", "app.kubernetes.io/name", meta=False),
            Chosen("address", "ip", meta=True),
            Chosen("missing", "tier", meta=False),
            Chosen("inode", "netns", meta=True),
            Chosen("owner", "workload", meta=True),
            Chosen("owner_kind", "workload_kind", meta=True),
        )
    )
    assert choose(ENTITY, pod_of({"app.kubernetes.io/name": "web", "team": "a"})).labels == (
        ("app", "web"),
        ("address", "10.1.17.40"),
        ("inode", "ns4026532001"),
        ("owner", "web"),
        ("owner_kind", "Deployment"),
    )
    host = Entity(1, 2, EntityKind.HOST, "hostNetwork", "hostNetwork", 0)
    assert choose(host, None).labels == (("inode", "ns1"),)
    assert choose(ENTITY, pod_of({"app.kubernetes.io/name": "x" * 64})).left_out == 1


def test_no_series_has_a_label_of_such_a_name() -> None:
    own = {label for probe in catalogue().values() for series in (EVENTS, *probe.series) for label in series.labels}
    assert not {name for name in own if name == "ip" or name.startswith("label_") or name in RESERVED}
