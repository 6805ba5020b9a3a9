"""The wire format by hand, against the protobuf library."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from otel_netagent.outputs.otlp.wire import fixed_tag, framed, integer_field, message_beginning, message_field


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_encoded_as_the_library_does(value: int) -> None:
    assert integer_field(3, value) == AnyValue(int_value=value).SerializeToString()


@given(st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]), st.integers(-3, 3))
def test_messages_of_any_length_are_encoded_as_the_library_does(length: int, more: int) -> None:
    text = AnyValue(string_value="x" * max(0, length + more))
    expected = KeyValue(value=text).SerializeToString()
    assert message_field(2, text.SerializeToString()) == expected


@given(st.integers(0, 2**64 - 1), st.floats(allow_nan=False))
def test_fields_of_fixed_width_are_encoded_as_the_library_does(time_ns: int, value: float) -> None:
    encoded = fixed_tag(3) + struct.pack("<Q", time_ns) + fixed_tag(4) + struct.pack("<d", value)
    point = NumberDataPoint.FromString(encoded)
    assert (point.time_unix_nano, point.as_double) == (time_ns, value)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_message_may_be_begun_before_it_is_finished(length: int, rest: int) -> None:
    text = KeyValue(key="x" * (length + rest)).SerializeToString()
    begun = text[: max(0, len(text) - rest)]
    expected = message_field(2, text)
    assert message_beginning(2, begun, len(text) - len(begun)) + text[len(begun) :] == expected
    assert b"".join(framed(2, (begun, text[len(begun) :]))) == expected
