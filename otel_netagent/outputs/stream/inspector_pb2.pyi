from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Meta(_message.Message):
    __slots__ = ("node", "pod", "namespace", "netns")
    NODE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NETNS_FIELD_NUMBER: _ClassVar[int]
    node: str
    pod: str
    namespace: str
    netns: str
    def __init__(self, node: _Optional[str] = ..., pod: _Optional[str] = ..., namespace: _Optional[str] = ..., netns: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("name", "filter", "names", "filters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    filter: Meta
    names: _containers.RepeatedScalarFieldContainer[str]
    filters: _containers.RepeatedCompositeFieldContainer[Meta]
    def __init__(self, name: _Optional[str] = ..., filter: _Optional[_Union[Meta, _Mapping]] = ..., names: _Optional[_Iterable[str]] = ..., filters: _Optional[_Iterable[_Union[Meta, _Mapping]]] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("name", "event")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    event: Event
    def __init__(self, name: _Optional[str] = ..., event: _Optional[_Union[Event, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("meta", "name", "value", "time_unix_nano")
    META_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    meta: Meta
    name: str
    value: str
    time_unix_nano: int
    def __init__(self, meta: _Optional[_Union[Meta, _Mapping]] = ..., name: _Optional[str] = ..., value: _Optional[str] = ..., time_unix_nano: _Optional[int] = ...) -> None: ...

class QueryMetricRequest(_message.Message):
    __slots__ = ("name", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    filter: Meta
    def __init__(self, name: _Optional[str] = ..., filter: _Optional[_Union[Meta, _Mapping]] = ...) -> None: ...

class QueryMetricResponse(_message.Message):
    __slots__ = ("name", "metrics", "time_unix_nano")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    name: str
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    time_unix_nano: int
    def __init__(self, name: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., time_unix_nano: _Optional[int] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("meta", "name", "value", "exact_value", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    META_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXACT_VALUE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    meta: Meta
    name: str
    value: float
    exact_value: int
    labels: _containers.ScalarMap[str, str]
    def __init__(self, meta: _Optional[_Union[Meta, _Mapping]] = ..., name: _Optional[str] = ..., value: _Optional[float] = ..., exact_value: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...
