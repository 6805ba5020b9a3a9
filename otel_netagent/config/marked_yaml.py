"""YAML (and JSON) with the position of each value in the file, for error messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from otel_netagent.unicode import well_formed

Location: TypeAlias = tuple[str | int, ...]
"""Keys and indexes that lead to a value: `("metric_config", "probes", 0)`."""

_MAX_VALUES = 10_000
"""More than any configuration needs: stops aliases of aliases from multiplying values."""

_VALUE_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
_TEXT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "value", "merge"))
"""Text, and text that looks like something else: `2026-11-22`, `=`, `<<`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Line of a value (in a mapping, of its key), from 1, and the value as it is written there."""

    line: int
    written: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the document; `line` is None if its position is not known."""

    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file: mappings, lists, text, numbers, booleans and None.

    `problems` are errors of single values, which are missing in `value`.
    """

    value: object
    marks: Mapping[Location, Mark]
    problems: Sequence[Problem]


class NotYaml(ValueError):
    """The text as a whole is not YAML. `problem` says why, and in which line."""

    def __init__(self, problem: Problem) -> None:
        """Keep the problem, for a message that also names the file."""
        super().__init__(problem.text)
        self.problem = problem


def read(data: bytes) -> Document:
    """Read a document; empty data is None.

    Raises NotYaml if the syntax is wrong, or the content is too deep or too large for a configuration.
    """
    builder = _Builder()
    try:
        root = yaml.compose(data, Loader=yaml.SafeLoader)
        value = None if root is None else builder.build(root, (), root.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise NotYaml(Problem(line, f"not valid YAML: {error.problem}")) from None
    except RecursionError:
        raise NotYaml(Problem(None, "nested too deeply")) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Not text at all; or an error of Python that PyYAML passes on, as for "\UFFFFFFFF", which is not a character.
        raise NotYaml(Problem(None, f"not valid YAML: {_first_line(error)}")) from None
    return Document(value, builder.marks, builder.problems)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values. An invalid value becomes None and a problem."""

    marks: dict[Location, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def build(self, node: yaml.Node, at: Location, line: int) -> object:
        if len(self.marks) >= _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values")
        self.marks[at] = Mark(line, _written(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*at, index), _line(item)) for index, item in enumerate(node.value)]
        return self._scalar(node, at, line)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(line, f"{spelled(at)}: {_written(key_node)} cannot be a key"))
                continue
            key = well_formed(key_node.value)
            if key in content:
                first = self.marks[(*at, key)].line
                self.problems.append(Problem(line, f"{spelled((*at, key))}: given twice, first in line {first}"))
            else:
                content[key] = self.build(value_node, (*at, key), line)
        return content

    def _scalar(self, node: yaml.Node, at: Location, line: int) -> object:
        if node.tag in _TEXT_TAGS:
            return well_formed(node.value)  # JSON's `\ud83d\ude00` is two characters to PyYAML
        try:
            if node.tag in _VALUE_TAGS:
                return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, LookupError):
            pass  # `!!int five`; LookupError is PyYAML's for `!!bool five` and `!!int ""`
        self.problems.append(Problem(line, f"{spelled(at)}: {_written(node)} is not a value of type {node.tag}"))
        return None


def spelled(location: Location) -> str:
    """A location as people write it: `metric_config.probes[0]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_plain(part)}" for part in location)
    return "".join(parts).removeprefix(".") or "the document"


def _plain(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _written(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
    text = node.value if node.style is None else json.dumps(node.value)
    return f"{text[:60]}..." if len(text) > 60 else text or "an empty value"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
