"""Reading the file, and reporting what is wrong with it.

The file is the content of the ConfigMap `inspector-config`: YAML or JSON. No key is ignored silently. A setting without
effect that does no harm is only a warning: an unknown probe, or chosen labels without `verbose`.
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
"""Where the file is searched for if none is named; the first that exists is used: the path on a plain machine; the path
where the open-source twin mounts its ConfigMap; and the ConfigMap under its two names."""

_MOST_BYTES: Final = 1 << 20
"""Kubernetes' own limit for a ConfigMap."""

_SECTIONS: Mapping[Location, type[BaseModel]] = {
    (): Config,
    ("metric_config",): MetricConfig,
    ("metric_config", "expose_labels", 0): ExposedLabel,
    ("event_config",): EventConfig,
    ("delivery",): DeliveryConfig,
}
"""The mappings with known keys, by their location; 0 stands for every item of a list."""

_QUOTED_BY_MISTAKE = {
    "bool_type": re.compile(r"true|false|yes|no|on|off", re.IGNORECASE),
    "int_type": re.compile(r"0|[1-9]\d*"),
    "float_type": re.compile(r"(0|[1-9]\d*)(\.\d+)?"),
}
"""Text that would be valid without its quotes, by the type of pydantic's error."""


class ConfigError(ValueError):
    """The configuration cannot be used. The text has one line for each error: file, line, key and reason."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Each of `lines` is a complete message for the user."""
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Parsed:
    """The configuration in a file, and warnings: complete lines, as those of a ConfigError."""

    config: Config
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file at one moment, or why it could not be read. `file` is None if there is no file."""

    file: Path | None
    data: bytes = b""
    unreadable: str = ""

    def __str__(self) -> str:
        """The file, as log lines name it."""
        return "the defaults" if self.file is None else str(self.file)

    def parsed(self, known: KnownNames) -> Parsed:
        """The configuration in this content. Raises ConfigError."""
        if self.unreadable:
            raise ConfigError([f"{self.file}: cannot be read: {self.unreadable}"])
        return parse(self.data, str(self.file), known)


def read(path: Path | None = None, places: Sequence[Path] = DEFAULT_PLACES) -> Content:
    """Content of the file at `path`; without a path, of the first of `places` that exists.

    Raises OSError if no file at all can be opened now, which says nothing about this one.
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
    """The configuration in the content of a file, which messages call `file`. Raises ConfigError."""
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
    without_effect = [*_unknown_probes(settings, document, known), *_labels_without_verbose(config, document)]
    return Parsed(config, tuple(_line(file, problem) for problem in without_effect))


def _validated(settings: object, known: KnownNames) -> Config:
    return Config.model_validate(settings, by_alias=True, by_name=False, context=known)


def _settings(value: object, at: Location = ()) -> object:
    """The document, without keys that have no value."""
    if value is None:
        return {}
    if isinstance(value, list):
        places = [(*at, number) for number in range(len(value))]
        return [_settings(item, place) if _section(place) else item for item, place in zip(value, places, strict=True)]
    if _section(at) is None or not isinstance(value, dict):
        return value
    return {key: _settings(member, (*at, key)) for key, member in value.items() if member is not None}


def _section(place: Location) -> type[BaseModel] | None:
    """The model of the mapping at this location; None if it is not a mapping with known keys."""
    return _SECTIONS.get(tuple(0 if isinstance(part, int) else part for part in place))


def _value_at(value: object, place: Location) -> object:
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _invalid(settings: object, document: Document, known: KnownNames) -> Iterator[Problem]:
    """Errors that pydantic finds. It compares the ports only if all else is valid, so they are also checked alone."""
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
    """Names in the lists of probes that are unknown, or are of a probe without metrics or events for the section."""
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


def _labels_without_verbose(config: Config, document: Document) -> Iterator[Problem]:
    """In the twin too, `expose_labels` only chooses among the labels that `verbose` adds."""
    if config.metric.expose_labels and not config.metric.verbose:
        place = ("metric_config", "expose_labels")
        text = f"{spelled(place)}: has no effect without metric_config.verbose; set that to true, or remove this key"
        yield Problem(document.marks[place].line, text)


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    """An error of pydantic as a message: the key, the value as written in the file, and what is allowed."""
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
    """The location in the document; pydantic reports an invalid key of a mapping below that key."""
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
    """What the value at this location must be, to follow "is not"."""
    match place:
        case _ if _section(place):
            return f"a mapping with the keys {', '.join(_keys(place))}"
        case (*section, str(key)) if model := _section(tuple(section)):
            return model.model_fields[OLD_KEYS.get(key, key)].description or ""
        case (_, str(key), _):
            return ITEMS[key]
    raise AssertionError(f"{place} is not a location of the schema")


def _line(file: str, problem: Problem) -> str:
    return f"{file}: {problem.text}" if problem.line is None else f"{file}:{problem.line}: {problem.text}"
