"""YAML is read with the place of each value, and any bytes are read or refused."""

from __future__ import annotations

import contextlib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.config import marked_yaml
from otel_netagent.config.marked_yaml import NotYaml

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(documents)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    document = marked_yaml.read(yaml.safe_dump(value).encode())
    assert document.value == value
    assert not document.problems


# YAML 1.1 knows no number like `1e16`, and no unescaped DEL, which Python writes.
json_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(0.001, 1e9) | st.text().filter(lambda t: "\x7f" not in t)
)


@given(
    st.recursive(json_scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text('ab😀"'), inner), max_leaves=12)
)
def test_json_is_read_back(value: object) -> None:
    assert marked_yaml.read(json.dumps(value).encode()).value == value


def test_no_text_has_lone_surrogates() -> None:
    assert marked_yaml.read(rb'{"\ud83d\ude00": "\ud83d", "\ud83d": 1}').value == {"😀": "\ufffd", "\ufffd": 1}


def test_each_value_has_its_line_and_is_as_written() -> None:
    document = marked_yaml.read(b'# a comment\na:\n  b: 0x10\n  c:\n  - "x"\n  -\n  - {d: yes}\n')
    marks = {marked_yaml.spelled(place): (mark.line, mark.written) for place, mark in document.marks.items()}
    assert marks == {
        "the document": (2, "a mapping"),
        "a": (2, "a mapping"),
        "a.b": (3, "0x10"),
        "a.c": (4, "a list"),
        "a.c[0]": (5, '"x"'),
        "a.c[1]": (6, "an empty value"),
        "a.c[2]": (7, "a mapping"),
        "a.c[2].d": (7, "yes"),
    }
    assert document.value == {"a": {"b": 16, "c": ["x", None, {"d": True}]}}


@pytest.mark.parametrize("text", ["2026-11-22", "=", "<<"])
def test_words_that_only_look_special_are_text(text: str) -> None:
    assert marked_yaml.read(text.encode()).value == text


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, "a: given twice, first in line 1"),
        ("a: 1\n[b]: 2", 2, "the document: a list cannot be a key"),
        ("a:\n  b: !!int five", 2, "a.b: five is not a value of type tag:yaml.org,2002:int"),
        ("a: !!bool five", 1, "a: five is not a value of type tag:yaml.org,2002:bool"),
        ('a: !!int ""', 1, 'a: "" is not a value of type tag:yaml.org,2002:int'),
        ("a: !secret x", 1, "a: x is not a value of type !secret"),
        ("a: 0b_", 1, "a: 0b_ is not a value of type tag:yaml.org,2002:int"),
    ],
)
def test_a_bad_value_is_a_problem_and_the_rest_is_read(text: str, line: int, problem: str) -> None:
    document = marked_yaml.read(f"{text}\ngood: 1".encode())
    assert [(found.line, found.text) for found in document.problems] == [(line, problem)]
    assert isinstance(document.value, dict)
    assert document.value["good"] == 1


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'ha'] * 9)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: [", 1, "not valid YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n\tb: 2", 2, "not valid YAML: found character '\\t' that cannot start any token"),
        ("a: 1\n--- \nb: 2", 2, "not valid YAML: but found another document"),
        ('"\\UFFFFFFFF"', None, "not valid YAML: "),
        ("\0", None, "not valid YAML: "),
        ("[" * 5000, None, "nested too deeply"),
        ("&a [*a]", None, "nested too deeply"),
        (LAUGHS, None, "not valid YAML: more than 10000 values"),
    ],
)
def test_what_is_no_yaml_is_refused_with_the_place(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(NotYaml) as refused:
        marked_yaml.read(text.encode())
    assert refused.value.problem.line == line
    assert refused.value.problem.text.startswith(problem)
    assert "\n" not in refused.value.problem.text


tokens = st.sampled_from([*"[]{},:-?&*!|>'\"%@`#\n \tax0_.=~<", "!!", "\\U", "&a", "*a", "- ", ": ", "---", "%YAML 9"])


@given(st.binary() | st.text().map(str.encode) | st.lists(tokens).map(lambda parts: "".join(parts).encode()))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotYaml):
        marked_yaml.read(data)
