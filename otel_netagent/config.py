"""The configuration: what its file may say, and what is wrong with a file, in words.

The file is the content of the ConfigMap `inspector-config`: YAML, or JSON. The keys are those of the original and of
its open-source twin, so their files go on working. No key is ignored in silence: one that this version cannot obey
is refused unless it has its default, which asks for nothing.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from otel_netagent import marked_yaml
from otel_netagent.marked_yaml import Document, Location, NotYaml, Problem, spelled

DEFAULT_PLACES = (Path("/etc/otel-netagent/config.yaml"), Path("/etc/config/config.yaml"))
"""Where the file is looked for when none is named, the first that exists: a plain machine's place, and where the
ConfigMap is mounted (as in the open-source twin)."""

_SETTING = ConfigDict(strict=True, frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


def _names_of_probes(value: object) -> object:
    """A list as a tuple, with the old spelling of an item, `{name: tcp}`, as the new one, `tcp`."""
    if not isinstance(value, list):
        return value
    return tuple(item["name"] if isinstance(item, dict) and item.keys() == {"name"} else item for item in value)


def _without_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# The descriptions complete the sentence "the value is not ...".
_Switch = Annotated[bool, Field(description="true or false")]
_Port = Annotated[int, Field(ge=1, le=65535, description="a whole number from 1 to 65535")]
_Seconds = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False, description="a number of seconds from 1 to 3600")]
_Probes = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_names_of_probes),
    AfterValidator(_without_repetition),
    Field(description="a list of names of probes"),
]


class MetricConfig(BaseModel):
    """Section `metric_config`. No `probes` means the necessary ones; `interval` is in seconds."""

    model_config = _SETTING

    enable: _Switch = True
    port: _Port = 9102
    interval: _Seconds = 5.0
    probes: _Probes = ()


class EventConfig(BaseModel):
    """Section `event_config`. No `probes` means the necessary ones; `infotolog` writes events to standard error."""

    model_config = _SETTING

    enable: _Switch = True
    port: _Port = 19102
    probes: _Probes = ()
    infotolog: _Switch = True


class Config(BaseModel):
    """All that the file may say, with the defaults of what it does not say."""

    model_config = _SETTING

    metric: MetricConfig = Field(default=MetricConfig(), validation_alias="metric_config")
    event: EventConfig = Field(default=EventConfig(), validation_alias="event_config")

    @model_validator(mode="after")
    def _ports_differ(self) -> Config:
        if self.metric.port == self.event.port:
            raise PydanticCustomError(
                "same_port",
                "metric_config.port and event_config.port are both {port}; give one of them another port",
                {"port": self.metric.port},
            )
        return self


_SECTIONS: Mapping[Location, type[BaseModel]] = {
    (): Config,
    ("metric_config",): MetricConfig,
    ("event_config",): EventConfig,
}

_NOT_SUPPORTED: Mapping[Location, object] = {
    ("debugmode",): False,
    ("metric_config", "verbose"): False,
    ("metric_config", "expose_labels"): [],
    ("event_config", "loki_enable"): False,
    ("event_config", "loki_address"): "",
}
"""Keys of the documentation that this version does not act on, with the default that asks for nothing."""

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


def load(path: Path | None = None, places: Sequence[Path] = DEFAULT_PLACES) -> Config:
    """Read the configuration from a file; without one from the first of `places` that exists, else the defaults.

    Raises ConfigError if the file cannot be read or used.
    """
    file = path
    try:
        if file is None:
            file = next((place for place in places if place.exists()), None)
        return Config() if file is None else parse(file.read_bytes(), str(file))
    except OSError as error:
        raise ConfigError([f"{error.filename}: cannot be read: {error.strerror}"]) from None


def parse(data: bytes, file: str) -> Config:
    """The configuration that the content of a file says. Raises ConfigError, which calls it `file`."""
    try:
        document = marked_yaml.read(data)
    except NotYaml as error:
        raise ConfigError([_line(file, error.problem)]) from None
    settings = _settings(document.value)
    problems = [*document.problems, *_unsupported(document), *_invalid(settings, document)]
    if problems:
        in_order = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
        raise ConfigError([_line(file, problem) for problem in in_order])
    return _validated(settings)


def _validated(settings: object) -> Config:
    return Config.model_validate(settings, by_alias=True, by_name=False)


def _settings(value: object, at: Location = ()) -> object:
    """The document without the keys that have no value, and without those that are not supported."""
    if value is None:
        return {}
    if at not in _SECTIONS or not isinstance(value, dict):
        return value
    members = {(*at, key): member for key, member in value.items()}
    return {
        place[-1]: _settings(member, place)
        for place, member in members.items()
        if member is not None and place not in _NOT_SUPPORTED
    }


def _unsupported(document: Document) -> Iterator[Problem]:
    for place, default in _NOT_SUPPORTED.items():
        value = _value_at(document.value, place)
        if value is not None and (type(value), value) != (type(default), default):
            mark = document.marks[place]
            remedy = f"leave it out, or at its default {json.dumps(default)}"
            yield Problem(mark.line, f"{spelled(place)}: {mark.written} is not supported by this version; {remedy}")


def _value_at(value: object, place: Location) -> object:
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _invalid(settings: object, document: Document) -> Iterator[Problem]:
    """What pydantic finds wrong. It compares the ports only when all else is right, so they are tried alone too."""
    ports = {
        section: {"port": port}
        for (section,) in filter(None, _SECTIONS)
        if (port := _value_at(settings, (section, "port"))) is not None
    }
    for attempt in (settings, ports):
        try:
            _validated(attempt)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                yield _problem(detail, document)


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    """An error of pydantic in words: the key, the value as it is written in the file, and what is allowed."""
    place: Location = detail["loc"]
    if detail["type"] == "same_port":
        return Problem(None, detail["msg"])
    mark = document.marks[place]
    if detail["type"] == "extra_forbidden":
        return Problem(mark.line, f"{spelled(place)}: unknown key; {_advice(place)}")
    text = f"{spelled(place)}: {mark.written} is not {_allowed(place)}"
    quoted = _QUOTED_BY_MISTAKE.get(detail["type"])
    if quoted and isinstance(detail["input"], str) and quoted.fullmatch(detail["input"]):
        text += "; write it without quotes"
    return Problem(mark.line, text)


def _advice(place: Location) -> str:
    """For an unknown key: the most similar one, and all that are allowed beside it."""
    allowed = _keys(place[:-1])
    similar = difflib.get_close_matches(str(place[-1]), allowed, n=1)
    return f"{f'did you mean {similar[0]}? ' if similar else ''}allowed here: {', '.join(allowed)}"


def _keys(section: Location) -> list[str]:
    fields = _SECTIONS[section].model_fields
    supported = [str(field.validation_alias or name) for name, field in fields.items()]
    return sorted(supported + [str(place[-1]) for place in _NOT_SUPPORTED if place[:-1] == section])


def _allowed(place: Location) -> str:
    """What a value of this place must be, to be read after "is not"."""
    match place:
        case (section, str(key)):
            return _SECTIONS[(section,)].model_fields[key].description or ""
        case (_, _, _):
            return "the name of a probe"
        case _:
            return f"a mapping with the keys {', '.join(_keys(place))}"


def _line(file: str, problem: Problem) -> str:
    return f"{file}: {problem.text}" if problem.line is None else f"{file}:{problem.line}: {problem.text}"
