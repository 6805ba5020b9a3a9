"""The schema of the file: keys, defaults, and allowed values and names.

The keys are those of the original and of its open-source twin, so their files keep working.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from otel_netagent.identity.metric_labels import META, MOST_LABELS, NAME, RESERVED, as_name
from otel_netagent.outputs.loki.address import LokiAddressError, push_url
from otel_netagent.printable import printable
from otel_netagent.unknown_name import advice

_SETTING = ConfigDict(strict=True, frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

SAME_PORT = "same_port"
UNKNOWN_NAME = "unknown_name"
NO_ADDRESS = "no_address"
NO_LABEL = "no_label"
"""Types of the errors that are raised here; all others are those of pydantic."""

OLD_KEYS: Mapping[str, str] = {"harmless": "expected"}
"""Former names of keys, which a file may still use, with the name of today."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Names that a file may use, each with its canonical name: itself, or the name of which it is an alias.

    `thresholds` are the event types with a threshold; `labels` are the labels of series besides those of entities.
    It is the context of pydantic's validation.
    """

    metric_probes: Mapping[str, str]
    event_probes: Mapping[str, str]
    thresholds: Mapping[str, str]
    labels: Collection[str] = ()


def _meant(names: Callable[[KnownNames], Mapping[str, str]]) -> AfterValidator:
    """Replaces a name by its canonical name. Unknown names, and names that are not from a file, stay as they are."""
    return AfterValidator(lambda name, info: name if info.context is None else names(info.context).get(name, name))


def _type_with_threshold(name: str, info: ValidationInfo) -> str:
    """The canonical name of an event type with a threshold. A name that is not from a file stays as it is."""
    if info.context is None:
        return name
    known: Mapping[str, str] = info.context.thresholds
    if name not in known:
        text = f"{printable(name)} is not a type of event with a threshold; {advice(name, set(known.values()))}"
        raise PydanticCustomError(UNKNOWN_NAME, "{text}", {"text": text})
    return known[name]


def names_of_probes(value: object) -> object:
    """A list as a tuple, with the old form of an item, `{name: tcp}`, replaced by `tcp`."""
    if not isinstance(value, list):
        return value
    return tuple(item["name"] if isinstance(item, dict) and item.keys() == {"name"} else item for item in value)


def _without_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _address_of_loki(address: str) -> str:
    """The address, if it is valid; an empty one is resolved when it is used."""
    try:
        if address:
            push_url(address)
    except LokiAddressError as error:
        raise PydanticCustomError(NO_ADDRESS, "{text}", {"text": str(error)}) from None
    return address


def _items(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_LIST_OF_PROBES = (
    BeforeValidator(names_of_probes),
    AfterValidator(_without_repetition),
    Field(description="a list of names of probes"),
)
_Name = Annotated[str, Field(min_length=1)]
_MetricProbe = Annotated[_Name, _meant(lambda known: known.metric_probes)]
_EventProbe = Annotated[_Name, _meant(lambda known: known.event_probes)]
_SlowType = Annotated[_Name, AfterValidator(_type_with_threshold)]

# The descriptions complete the sentence "the value is not ...".
_Switch = Annotated[bool, Field(description="true or false")]
_Port = Annotated[int, Field(ge=1, le=65535, description="a whole number from 1 to 65535")]
_Seconds = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False, description="a number of seconds from 1 to 3600")]
_Rate = Annotated[int, Field(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
_FlushSeconds = Annotated[
    float, Field(ge=0, le=60, allow_inf_nan=False, description="a number of seconds from 0 to 60")
]
_Megabytes = Annotated[int, Field(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
_Kilobytes = Annotated[int, Field(ge=16, le=1_000_000, description="a whole number from 16 to 1000000")]
_Directory = Annotated[str, Field(pattern=r"^(/.*)?$", description="an absolute path, or empty for none")]
_LokiAddress = Annotated[str, AfterValidator(_address_of_loki), Field(description="an address of Loki, or empty")]
_Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
_Thresholds = Annotated[
    dict[_SlowType, _Milliseconds],
    Field(description="a mapping from types of events to milliseconds"),
]


class ExposedLabel(BaseModel):
    """An item of `expose_labels`: adds a label of the pod, or one of META, to metrics.

    Its name is `replace`; if that is empty, `source` with invalid characters replaced.
    """

    model_config = _SETTING

    source: Annotated[str, Field(min_length=1, description="the key of a pod's label, or a name of type meta")]
    type: Annotated[Literal["meta", "label"], Field(description="meta or label")]
    replace: Annotated[str, Field(description="the name of a label, or empty")] = ""

    @property
    def name(self) -> str:
        """The label's name."""
        return self.replace or as_name(self.source)

    @property
    def changes_nothing(self) -> bool:
        """Whether every series has this label already."""
        return self.type == "meta" and self.source == self.name == "netns"

    def __str__(self) -> str:
        """As part of a log line."""
        return f"{self.name} from {self.type} {self.source}"

    @model_validator(mode="after")
    def _can_be_had(self, info: ValidationInfo) -> ExposedLabel:
        if self.type == "meta" and self.source not in META:
            raise _no_label(
                f"{printable(self.source)} is not a source of type meta; {advice(self.source, META.keys())}"
            )
        if not NAME.fullmatch(self.name):
            raise _no_label(f"{printable(self.name)} is not a valid label name; set replace to one: letters, digits, _")
        taken = {*RESERVED, *(info.context.labels if info.context else ())}
        if self.name in taken and not self.changes_nothing:
            raise _no_label(f"{self.name} is a label that series have already; set replace to another name")
        return self


def _no_label(text: str) -> PydanticCustomError:
    return PydanticCustomError(NO_LABEL, "{text}", {"text": text})


def _names_differ(labels: tuple[ExposedLabel, ...]) -> tuple[ExposedLabel, ...]:
    names = [label.name for label in labels]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _no_label(f"two items are called {twice}; set replace of one of them to another name")
    return labels


_ExposedLabels = Annotated[
    tuple[ExposedLabel, ...],
    BeforeValidator(_items),
    AfterValidator(_names_differ),
    Field(max_length=MOST_LABELS, description=f"a list of at most {MOST_LABELS} mappings with source and type"),
]

ITEMS: Mapping[str, str] = {
    "probes": "the name of a probe",
    "thresholds": "a whole number of milliseconds from 1 to 3600000",
}
"""What the items of a value must be, by the value's key."""


class MetricConfig(BaseModel):
    """Section `metric_config`. Without `probes` the necessary ones run; `interval` is in seconds.

    `aliases` makes `/metrics` also show series under their other names, `timestamps` adds the time of each value.
    `verbose` adds the pod's address and labels to every series, or the labels that `expose_labels` chooses.
    """

    model_config = _SETTING

    enable: _Switch = True
    port: _Port = 9102
    interval: _Seconds = 5.0
    probes: Annotated[tuple[_MetricProbe, ...], *_LIST_OF_PROBES] = ()
    aliases: _Switch = True
    timestamps: _Switch = True
    verbose: _Switch = False
    expose_labels: _ExposedLabels = ()


class EventConfig(BaseModel):
    """Section `event_config`. Without `probes` the necessary ones run; `infotolog` writes events to standard error.

    `thresholds` are in milliseconds, by event type. `events_per_second` limits the events of one kind at one location
    in one namespace; `expected` also emits events for what is no fault. `loki_enable` pushes events to Loki without a
    collector.
    """

    model_config = _SETTING

    enable: _Switch = True
    port: _Port = 19102
    probes: Annotated[tuple[_EventProbe, ...], *_LIST_OF_PROBES] = ()
    infotolog: _Switch = True
    thresholds: _Thresholds = {}
    events_per_second: _Rate = 100
    expected: _Switch = Field(default=False, validation_alias=AliasChoices("expected", "harmless"))
    loki_enable: _Switch = False
    loki_address: _LokiAddress = ""


class DeliveryConfig(BaseModel):
    """Section `delivery`. OTLP metrics, OTLP logs and Loki each have a spool of this size."""

    model_config = _SETTING

    spool_directory: _Directory = "/var/lib/otel-netagent/spool"
    spool_megabytes: _Megabytes = 128
    request_kilobytes: _Kilobytes = 4032
    flush_seconds: _FlushSeconds = 1.0


class Config(BaseModel):
    """The whole configuration; keys that the file does not have get their defaults."""

    model_config = _SETTING

    debugmode: _Switch = False
    enable_legacy_version: _Switch = False
    metric: MetricConfig = Field(default=MetricConfig(), validation_alias="metric_config")
    event: EventConfig = Field(default=EventConfig(), validation_alias="event_config")
    delivery: DeliveryConfig = DeliveryConfig()

    @model_validator(mode="after")
    def _ports_differ(self) -> Config:
        if self.metric.port == self.event.port:
            raise PydanticCustomError(
                SAME_PORT,
                "metric_config.port and event_config.port are both {port}; give one of them another port",
                {"port": self.metric.port},
            )
        return self


def key_of(name: str, field: FieldInfo) -> str:
    """The key of a field in the file, as it is spelled today."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def differences(before: Config, after: Config) -> Iterator[str]:
    """What the second says otherwise than the first, one setting after another: `metric_config.interval 5 -> 10`."""
    old, new = settings_of(before), settings_of(after)
    yield from (f"{key} {_shown(old[key])} -> {_shown(new[key])}" for key in new if old[key] != new[key])


def settings_of(config: Config) -> Mapping[str, Any]:
    """All settings by their keys: `metric_config.interval`."""
    return dict(_settings(config))


def _settings(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        key, value = f"{prefix}{key_of(name, field)}", getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{key}.")
        else:
            yield key, value


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {item}' for key, item in value.items())}}}"
        case _:
            return str(value)
