"""Content codings: who gets which, and that they are what they are called."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.content_coding import Coding, gzipped


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("gzip", Coding.GZIP),
        ("deflate, GZIP;q=0.5, br", Coding.GZIP),
        ("gzip;q=0", Coding.IDENTITY),
        ("gzip; q=0.0", Coding.IDENTITY),
        ("identity", Coding.IDENTITY),
        ("", Coding.IDENTITY),
    ],
)
def test_gzip_is_for_who_accepts_it(accept_encoding: str, coding: Coding) -> None:
    assert Coding.accepted(accept_encoding) is coding


@given(st.lists(st.binary()))
def test_zlib_reads_what_isal_wrote(parts: list[bytes]) -> None:
    assert gzip.decompress(gzipped(parts)) == b"".join(parts)
