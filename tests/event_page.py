"""Events as docs/events.md has them: what a reader of a line or of a log record can look up."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from otel_netagent.model.event import Event

_PAGE: Final = Path(__file__).parent.parent / "docs" / "events.md"
_SECTION: Final = re.compile(r"^### `(\w+)`(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| (?:`([^`]+)`)? \| `([^`]+)` \| (string|int) \| ", re.MULTILINE)
_KEY: Final = re.compile(r"(?:^| )(\w+[=:])")
_TYPES: Final = {"string": str, "int": int}


class Documented(NamedTuple):
    """Of a type of events: the keys that its lines may have, and the types of its attributes by their names."""

    keys: frozenset[str]
    attributes: Mapping[str, type]


@functools.cache
def documented() -> Mapping[str, Documented]:
    """By the type's name."""
    rows = {name: _ROW.findall(section) for name, section in _SECTION.findall(_PAGE.read_text(encoding="utf-8"))}
    return {
        name: Documented(
            frozenset(key for key, _, _ in found), {attribute: _TYPES[kind] for _, attribute, kind in found}
        )
        for name, found in rows.items()
    }


def declared(event: Event) -> Event:
    """The event, whose attributes and keys are all on the page. AssertionError where one is not, or of another type."""
    of_type = documented()[event.type.name]
    types = {name: type(value) for name, value in event.attributes.items()}
    assert types.items() <= of_type.attributes.items(), (types, of_type.attributes)
    for key in _KEY.findall(event.body):
        of_a_value = any(key in value for value in event.attributes.values() if isinstance(value, str))
        assert key in of_type.keys or of_a_value, f"{event.body}: {key} is not on the page"
    return event
