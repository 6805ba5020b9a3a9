"""The format of the spool's files: what is whole is read, what is not is noticed, whatever happened to the file."""

from __future__ import annotations

from io import BytesIO
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.sending.records import SETTLED, WAITING, Damage, read_record, record_size, write_record
from otel_netagent.outputs.sending.request import Parcel

# Bodies like beginnings of records are drawn often enough to be met.
BODIES = st.one_of(st.binary(max_size=40), st.sampled_from([WAITING, SETTLED, WAITING + bytes(16)]))
PARCELS = st.lists(st.builds(Parcel, BODIES, st.integers(0, 2**32 - 1)), max_size=5)
SOME_PARCELS = st.lists(st.builds(Parcel, BODIES, st.integers(0, 2**32 - 1)), min_size=1, max_size=5)


def read(data: bytes) -> tuple[list[Parcel], list[Damage]]:
    """All that is in a file, as a spool goes through it."""
    file, offset = BytesIO(data), 0
    parcels, damages = [], []
    while (found := read_record(file, offset)) is not None:
        assert offset < found.end <= len(data)
        offset = found.end
        if isinstance(found, Damage):
            damages.append(found)
        elif not found.settled:
            parcels.append(found.parcel)
    assert offset == len(data)
    return parcels, damages


def ends(parcels: list[Parcel]) -> list[int]:
    return [sum(map(record_size, parcels[: number + 1])) for number in range(len(parcels))]


def test_layout_is_the_documented_one() -> None:
    measures = bytes.fromhex("03000000 07000000") + crc32(b"abc").to_bytes(4, "little")
    expected = b"\xf5WTG" + measures + crc32(measures).to_bytes(4, "little") + b"abc"
    assert write_record(Parcel(b"abc", 7)) == expected


@given(PARCELS)
def test_what_was_written_is_read_in_its_order(parcels: list[Parcel]) -> None:
    assert read(b"".join(map(write_record, parcels))) == (parcels, [])


@given(PARCELS, st.data())
def test_any_prefix_yields_the_whole_records_in_it(parcels: list[Parcel], data: st.DataObject) -> None:
    file = b"".join(map(write_record, parcels))
    length = data.draw(st.integers(0, len(file)))
    found, damages = read(file[:length])
    whole = [parcel for parcel, end in zip(parcels, ends(parcels), strict=True) if end <= length]
    assert found == whole
    assert len(damages) == (length not in {0, *ends(parcels)})


@given(SOME_PARCELS, st.data())
def test_flipped_bit_loses_that_record_alone(parcels: list[Parcel], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, parcels)))
    bit = data.draw(st.integers(0, 8 * len(file) - 1))
    file[bit // 8] ^= 1 << bit % 8
    hit = next(number for number, end in enumerate(ends(parcels)) if bit // 8 < end)
    found, damages = read(bytes(file))
    assert found == parcels[:hit] + parcels[hit + 1 :]
    assert len(damages) == 1


@given(SOME_PARCELS, st.data())
def test_damaged_body_tells_how_much_is_lost(parcels: list[Parcel], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, parcels)))
    hit = data.draw(st.sampled_from(range(len(parcels))))
    if not parcels[hit].body:
        return
    file[ends(parcels)[hit] - 1] ^= 0xFF
    assert [damage.count for damage in read(bytes(file))[1]] == [parcels[hit].count]


@given(PARCELS, st.binary(max_size=30), PARCELS)
def test_what_follows_rubbish_is_found(before: list[Parcel], rubbish: bytes, after: list[Parcel]) -> None:
    file = b"".join((*map(write_record, before), rubbish, *map(write_record, after)))
    assert read(file)[0] == before + after


@given(SOME_PARCELS, st.data())
def test_settled_records_are_passed_over(parcels: list[Parcel], data: st.DataObject) -> None:
    file = bytearray(b"".join(map(write_record, parcels)))
    settled = data.draw(st.sets(st.sampled_from(range(len(parcels)))))
    for number in settled:
        start = ends(parcels)[number] - record_size(parcels[number])
        file[start : start + len(SETTLED)] = SETTLED
    assert read(bytes(file)) == ([parcel for number, parcel in enumerate(parcels) if number not in settled], [])


@given(st.binary(max_size=200))
def test_any_bytes_are_gone_through(data: bytes) -> None:
    read(data)
