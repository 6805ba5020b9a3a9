"""Reading the file, and saying what is wrong with it.

The file is the content of the ConfigMap `inspector-config`: YAML, or JSON. No key is ignored in silence. What cannot be
had, but stops nothing else, is only warned of: a probe that there is not, labels that are chosen but not asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from otel_netagent.config import marked_yaml
from otel_netagent.config.marked_yaml import Document, Location, NotYaml, Problem, spelled
from otel_netagent.config.schema import (
    ITEMS,
    NO_ADDRESS,
    NO_LABEL,
    OLD_KEYS,
    SAME_PORT,
    UNKNOWN_NAME,
    Config,
    DeliveryConfig,
    EventConfig,
    ExposedLabel,
    KnownNames,
    MetricConfig,
    key_of,
    names_of_probes,
)
from otel_netagent.open_files import raise_shortage
from otel_netagent.printable import printable
from otel_netagent.unknown_name import advice

DEFAULT_PLACES = (
    Path("/etc/otel-netagent/config.yaml"),
    Path("/etc/config/config.yaml"),
    Path("/etc/inspector-config/config.yaml"),
    Path("/etc/kubeskoop-config/config.yaml"),
)
"""Where the file is looked for when none is named, the first that exists: a plain machine's place; where the
open-source twin mounts its ConfigMap; and the ConfigMap by its name, or by its other name."""

_MOST_BYTES: Final = 1 << 20
"""Kubernetes lets no ConfigMap be larger."""

_SECTIONS: Mapping[Location, type[BaseModel]] = {
    (): Config,
    ("metric_config",): MetricConfig,
    ("metric_config", "expose_labels", 0): ExposedLabel,
    ("event_config",): EventConfig,
    ("delivery",): DeliveryConfig,
}
"""The mappings whose keys are known, by their places; 0 stands for every item of a list."""

_QUOTED_BY_MISTAKE = {
    "bool_type": re.compile(r"true|false|yes|no|on|off", re.IGNORECASE),
    "int_type": re.compile(r"0|[1-9]\d*"),
    "float_type": re.compile(r"(0|[1-9]\d*)(\.\d+)?"),
}
"""Text that would be right without its quotes, by the type of pydantic's error."""


class ConfigError(ValueError):
    """The configuration cannot be used. As text: one line for each reason, with the file, the line and the key."""

    def __init__(self, lines: Sequence[str]) -> None:
        """`lines` are complete: each is shown to the user as it is."""
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says, and what it asks for in vain: complete lines, as those of a ConfigError."""

    config: Config
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held at one moment, or why it could not be read. Where there is no file, there is no content."""

    file: Path | None
    data: bytes = b""
    unreadable: str = ""

    def __str__(self) -> str:
        """The file, as a log line calls it."""
        return "the defaults" if self.file is None else str(self.file)

    def parsed(self, known: KnownNames) -> Parsed:
        """The configuration that it says. Raises ConfigError."""
        if self.unreadable:
            raise ConfigError([f"{self.file}: cannot be read: {self.unreadable}"])
        return parse(self.data, str(self.file), known)


def read(path: Path | None = None, places: Sequence[Path] = DEFAULT_PLACES) -> Content:
    """Content of a file; without one, of the first of `places` that exists.

    Raises OSError where no file can be opened at all, which says nothing of this one.
    """
    file = path
    try:
        if file is None and (file := next((place for place in places if place.exists()), None)) is None:
            return Content(None)
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise_shortage(error)
        return Content(file, unreadable=error.strerror or str(error))
    if len(data) > _MOST_BYTES:
        return Content(file, unreadable=f"larger than {_MOST_BYTES} bytes")
    return Content(file, data)


def parse(data: bytes, file: str, known: KnownNames) -> Parsed:
    """The configuration that the content of a file says. Raises ConfigError. Lines call the file `file`."""
    try:
        document = marked_yaml.read(data)
    except NotYaml as error:
        raise ConfigError([_line(file, error.problem)]) from None
    settings = _settings(document.value)
    problems = [*document.problems, *_invalid(settings, document, known)]
    if problems:
        in_order = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
        raise ConfigError([_line(file, problem) for problem in in_order])
    config = _validated(settings, known)
    in_vain = [*_unknown_probes(settings, document, known), *_labels_unasked_for(config, document)]
    return Parsed(config, tuple(_line(file, problem) for problem in in_vain))


def _validated(settings: object, known: KnownNames) -> Config:
    return Config.model_validate(settings, by_alias=True, by_name=False, context=known)


def _settings(value: object, at: Location = ()) -> object:
    """The document without the keys that have no value."""
    if value is None:
        return {}
    if isinstance(value, list):
        places = [(*at, number) for number in range(len(value))]
        return [_settings(item, place) if _section(place) else item for item, place in zip(value, places, strict=True)]
    if _section(at) is None or not isinstance(value, dict):
        return value
    return {key: _settings(member, (*at, key)) for key, member in value.items() if member is not None}


def _section(place: Location) -> type[BaseModel] | None:
    """What may be said here, where that is a mapping of known keys."""
    return _SECTIONS.get(tuple(0 if isinstance(part, int) else part for part in place))


def _value_at(value: object, place: Location) -> object:
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _invalid(settings: object, document: Document, known: KnownNames) -> Iterator[Problem]:
    """What pydantic finds wrong. It compares the ports only when all else is right, so they are tried alone too."""
    ports = {
        section: {"port": port}
        for section in ("metric_config", "event_config")
        if (port := _value_at(settings, (section, "port"))) is not None
    }
    for attempt in (settings, ports):
        try:
            _validated(attempt, known)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                yield _problem(detail, document)


def _unknown_probes(settings: object, document: Document, known: KnownNames) -> Iterator[Problem]:
    """Names in the lists of probes that are of none, or of one that has nothing for the section."""
    for section, kind, allowed in (
        ("metric_config", "a probe with metrics", known.metric_probes),
        ("event_config", "a probe with events", known.event_probes),
    ):
        names = names_of_probes(_value_at(settings, (section, "probes")))
        for number, name in enumerate(names if isinstance(names, tuple) else ()):
            if name not in allowed:
                place = (section, "probes", number)
                remedy = advice(name, set(allowed.values()))
                yield Problem(
                    document.marks[place].line, f"{spelled(place)}: {printable(name)} is not {kind}; {remedy}"
                )


def _labels_unasked_for(config: Config, document: Document) -> Iterator[Problem]:
    """The twin too takes `expose_labels` for a choice among what `verbose` asks for."""
    if config.metric.expose_labels and not config.metric.verbose:
        place = ("metric_config", "expose_labels")
        remedy = "set metric_config.verbose to true, or leave it out"
        yield Problem(document.marks[place].line, f"{spelled(place)}: has no effect by itself; {remedy}")


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    """An error of pydantic in words: the key, the value as it is written in the file, and what is allowed."""
    if detail["type"] == SAME_PORT:
        return Problem(None, detail["msg"])
    place = _place(detail)
    if detail["type"] == "missing":
        return Problem(document.marks[place[:-1]].line, f"{spelled(place)}: is missing; set it to {_allowed(place)}")
    mark = document.marks[place]
    if detail["type"] in {UNKNOWN_NAME, NO_ADDRESS, NO_LABEL}:
        return Problem(mark.line, f"{spelled(place)}: {detail['msg']}")
    if detail["type"] == "extra_forbidden":
        return Problem(mark.line, f"{spelled(place)}: {_unknown_key(str(place[-1]), _keys(place[:-1]))}")
    text = f"{spelled(place)}: {mark.written} is not {_allowed(place)}"
    quoted = _QUOTED_BY_MISTAKE.get(detail["type"])
    if quoted and isinstance(detail["input"], str) and quoted.fullmatch(detail["input"]):
        text += "; write it without quotes"
    return Problem(mark.line, text)


def _place(detail: ErrorDetails) -> Location:
    """Where in the document; what is wrong with a key of a mapping, pydantic places below that key."""
    place: Location = detail["loc"]
    return place[:3] if place[3:] == ("[key]",) else place


def _unknown_key(key: str, keys: Collection[str]) -> str:
    """What is wrong with a key that the section does not have, or has by a new name that the file gives as well."""
    if (new := OLD_KEYS.get(key)) in keys:
        return f"is the old name of {new}; this section has both: remove {key}"
    return f"unknown key; {advice(key, keys)}"


def _keys(section: Location) -> list[str]:
    model = _section(section)
    return sorted(key_of(name, field) for name, field in model.model_fields.items()) if model else []


def _allowed(place: Location) -> str:
    """What a value of this place must be, to be read after "is not"."""
    match place:
        case _ if _section(place):
            return f"a mapping with the keys {', '.join(_keys(place))}"
        case (*section, str(key)) if model := _section(tuple(section)):
            return model.model_fields[OLD_KEYS.get(key, key)].description or ""
        case (_, str(key), _):
            return ITEMS[key]
    raise AssertionError(f"{place} is no place of the schema")


def _line(file: str, problem: Problem) -> str:
    return f"{file}: {problem.text}" if problem.line is None else f"{file}:{problem.line}: {problem.text}"
