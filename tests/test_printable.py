"""Text of others, in a line of ours."""

from __future__ import annotations

from hypothesis import given

from otel_netagent.printable import printable
from otel_netagent.probing.printable import printable_name
from tests.outputs.samples import ANY_TEXT


@given(ANY_TEXT)
def test_any_text_becomes_printable_and_changes_only_where_it_must(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    assert printable("a\nb\x1b[2J\udc80c") == "a\\nb\\x1b[2J\\udc80c"


def test_a_name_of_the_kernel_ends_at_its_first_zero_and_keeps_its_length() -> None:
    assert printable_name(b"ngin\x1b\xffx\0junk") == "ngin?\ufffdx"
