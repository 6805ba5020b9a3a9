"""Text that every output can encode."""

from __future__ import annotations

import os

from hypothesis import given

from otel_netagent.unicode import well_formed
from tests.outputs.samples import ANY_TEXT


@given(ANY_TEXT)
def test_result_can_be_encoded_and_differs_only_where_it_must(text: str) -> None:
    result = well_formed(text)
    assert result.encode().decode() == result
    assert well_formed(result) == result
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert result == text


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert well_formed(os.fsdecode(b"ngin\xffx\xfe")) == "ngin\ufffdx\ufffd"
