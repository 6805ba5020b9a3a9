"""The wire format by hand, against the protobuf library."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from otel_netagent.telemetry.otlp.wire import integer_field, message_field


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_encoded_as_the_library_does(value: int) -> None:
    assert integer_field(3, value) == AnyValue(int_value=value).SerializeToString()


@given(st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]), st.integers(-3, 3))
def test_messages_of_any_length_are_encoded_as_the_library_does(length: int, more: int) -> None:
    text = AnyValue(string_value="x" * max(0, length + more))
    expected = KeyValue(value=text).SerializeToString()
    assert message_field(2, text.SerializeToString()) == expected
