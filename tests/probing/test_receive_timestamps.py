"""Parts of a latency, as events tell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject
from otel_netagent.model.attribute import line_of
from otel_netagent.pipeline.kernel_access import OBJECTS
from otel_netagent.probing.receive_timestamps import PART_HOOKS, PARTS, Parts, parts_attributes

LENGTHS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (Parts(36_400_000, 4_200, 999_999, 0, 0), "prerouting=36 ms route=4 us local_in=999 us"),
        (Parts(0, 0, 0, 35_000_000, 820_000), "local_out=35 ms postrouting=820 us"),
        (Parts(0, 0, 12_000_000, 0, 0), "local_in=12 ms"),
        (Parts(0, 0, 0, 0, 0), ""),
    ],
)
def test_the_parts_that_are_known_follow_in_the_order_of_the_way(parts: Parts, text: str) -> None:
    assert line_of(PARTS, parts_attributes(parts)) == text


@given(st.builds(Parts, LENGTHS, LENGTHS, LENGTHS, LENGTHS, LENGTHS))
def test_each_known_part_is_an_attribute_in_full(parts: Parts) -> None:
    attributes = parts_attributes(parts)
    assert attributes == {f"netagent.latency.{name}": part for name, part in parts._asdict().items() if part}


@pytest.mark.parametrize("form", ["fentry", "kprobe"])
def test_every_function_of_the_object_is_attached_by_some_method(form: str) -> None:
    """And where a method is rejected is what its program says: the same function in both forms."""
    with BpfObject(OBJECTS / "kernellatency.bpf.o", ()) as unloaded:
        names = {name for name in unloaded.programs if name.endswith(f"_{form}")} - {f"datagram_delivered_{form}"}
        assert names == {
            program for hook in PART_HOOKS for method in hook.methods for program in method.programs if form in program
        }
        assert {unloaded.section(name) for name in names} == {
            f"{form}/{name.removesuffix(f'_{form}')}" for name in names
        }
