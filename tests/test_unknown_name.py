"""What a name that is not known is answered with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.unknown_name import advice, similar

KNOWN = ("tcp", "tcpreset", "TCPRESET_NOSOCK", "Udp")


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("tpc", "did you mean tcp?"),
        ("tcpreset_nosok", "did you mean TCPRESET_NOSOCK?"),
        ("UDPP", "did you mean Udp?"),
        ("entirely else", ""),
        ("", ""),
    ],
)
def test_the_most_similar_name_is_asked_for_as_it_is_spelled(name: str, question: str) -> None:
    assert similar(name, KNOWN) == question


def test_all_names_are_told_in_order() -> None:
    assert advice("tpc", KNOWN) == "did you mean tcp? allowed here: TCPRESET_NOSOCK, Udp, tcp, tcpreset"
    assert advice("entirely else", {"tcp"}) == "allowed here: tcp"
    assert advice("tcp", ()) == "allowed here: none"


@given(known=st.lists(st.text(min_size=1), min_size=1))
def test_a_name_that_is_known_is_most_similar_to_itself(known: list[str]) -> None:
    question = similar(known[0], known)
    assert question.removeprefix("did you mean ").removesuffix("?").casefold() == known[0].casefold()
