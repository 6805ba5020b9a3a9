"""The format of the spool's files: what is whole is read, what is not is noticed, whatever happened to the file."""

from __future__ import annotations

from io import BytesIO
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.sending.records import SETTLED, WAITING, Damage, read_record, record_size, write_record
from otel_netagent.outputs.sending.request import EncodedRequest

# Bodies like beginnings of records are drawn often enough to be met.
BODIES = st.one_of(st.binary(max_size=40), st.sampled_from([WAITING, SETTLED, WAITING + bytes(16)]))
REQUESTS = st.lists(st.builds(EncodedRequest, BODIES, st.integers(0, 2**32 - 1)), max_size=5)
SOME_REQUESTS = st.lists(st.builds(EncodedRequest, BODIES, st.integers(0, 2**32 - 1)), min_size=1, max_size=5)


def read(data: bytes) -> tuple[list[EncodedRequest], list[Damage]]:
    """All that is in a file, as a spool goes through it."""
    file, offset = BytesIO(data), 0
    requests, damages = [], []
    while (found := read_record(file, offset)) is not None:
        assert offset < found.end <= len(data)
        offset = found.end
        if isinstance(found, Damage):
            damages.append(found)
        elif not found.settled:
            requests.append(found.request)
    assert offset == len(data)
    return requests, damages


def ends(requests: list[EncodedRequest]) -> list[int]:
    return [sum(map(record_size, requests[: number + 1])) for number in range(len(requests))]


def test_layout_is_the_documented_one() -> None:
    measures = bytes.fromhex("03000000 07000000") + crc32(b"abc").to_bytes(4, "little")
    expected = b"\xf5WTG" + measures + crc32(measures).to_bytes(4, "little") + b"abc"
    assert write_record(EncodedRequest(b"abc", 7)) == expected


@given(REQUESTS)
def test_what_was_written_is_read_in_its_order(requests: list[EncodedRequest]) -> None:
    assert read(b"".join(map(write_record, requests))) == (requests, [])


@given(REQUESTS, st.data())
def test_any_prefix_yields_the_whole_records_in_it(requests: list[EncodedRequest], data: st.DataObject) -> None:
    file = b"".join(map(write_record, requests))
    length = data.draw(st.integers(0, len(file)))
    found, damages = read(file[:length])
    whole = [request for request, end in zip(requests, ends(requests), strict=True) if end <= length]
    assert found == whole
    assert len(damages) == (length not in {0, *ends(requests)})


@given(SOME_REQUESTS, st.data())
def test_flipped_bit_loses_that_record_alone(requests: list[EncodedRequest], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, requests)))
    bit = data.draw(st.integers(0, 8 * len(file) - 1))
    file[bit // 8] ^= 1 << bit % 8
    hit = next(number for number, end in enumerate(ends(requests)) if bit // 8 < end)
    found, damages = read(bytes(file))
    assert found == requests[:hit] + requests[hit + 1 :]
    assert len(damages) == 1


@given(SOME_REQUESTS, st.data())
def test_damaged_body_tells_how_much_is_lost(requests: list[EncodedRequest], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, requests)))
    hit = data.draw(st.sampled_from(range(len(requests))))
    if not requests[hit].body:
        return
    file[ends(requests)[hit] - 1] ^= 0xFF
    assert [damage.count for damage in read(bytes(file))[1]] == [requests[hit].count]


@given(REQUESTS, st.binary(max_size=30), REQUESTS)
def test_what_follows_rubbish_is_found(
    before: list[EncodedRequest], rubbish: bytes, after: list[EncodedRequest]
) -> None:
    file = b"".join((*map(write_record, before), rubbish, *map(write_record, after)))
    assert read(file)[0] == before + after


@given(SOME_REQUESTS, st.data())
def test_settled_records_are_passed_over(requests: list[EncodedRequest], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, requests)))
    settled = data.draw(st.sets(st.sampled_from(range(len(requests)))))
    for number in settled:
        start = ends(requests)[number] - record_size(requests[number])
        file[start : start + len(SETTLED)] = SETTLED
    assert read(bytes(file)) == ([request for number, request in enumerate(requests) if number not in settled], [])


@given(st.binary(max_size=200))
def test_any_bytes_are_gone_through(data: bytes) -> None:
    read(data)
