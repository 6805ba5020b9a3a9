"""Declaration of what an event says: each attribute, and where the text line has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

AttributeValue: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an event.

    `name` is OpenTelemetry's where its semantic conventions have one, `type` what its values are, `unit` UCUM, as a
    series has it. `before` is what stands before the value in the text line: a space, the key and its separator. An
    attribute without it is not in the line. `text` writes the value there.
    """

    name: str
    type: type[str] | type[int]
    meaning: str
    unit: str = ""
    before: str = ""
    text: Callable[[Any], str] = str

    def in_line(self, before: str) -> Attribute:
        """The same attribute, with its place in the line of some event."""
        return replace(self, before=before)

    @property
    def key(self) -> str:
        """Its key in the line and the separator, as `dport=` or `reason:`; empty where it is not in the line."""
        return self.before.strip()


def line_of(in_line: Iterable[Attribute], values: Mapping[str, AttributeValue]) -> str:
    """The values of these attributes as text, in this order, without those that are absent."""
    line = ""
    for each in in_line:
        if each.name in values:
            line += each.before + each.text(values[each.name])
    return line.removeprefix(" ")
