"""The spool, on a real disk: a queue that is there again after a restart."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_netagent.outputs.sending.records import record_size, write_record
from otel_netagent.outputs.sending.request import EncodedRequest
from otel_netagent.outputs.sending.spool import Spool, SpoolPlace, open_spool
from tests.outputs.sending.numbers import make_request

ROOMY = 1 << 20


def opened(directory: Path, limit: int = ROOMY, damages: list[int] | None = None) -> Spool:
    return Spool(SpoolPlace(directory, limit), ([] if damages is None else damages).append)


def drained(spool: Spool) -> list[EncodedRequest]:
    requests = []
    while request := spool.head():
        requests.append(request)
        spool.settle()
    return requests


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = opened(tmp_path)
    yield spool
    spool.close()


def test_head_stays_until_it_is_settled(spool: Spool) -> None:
    assert spool.head() is None
    first, second = make_request(1), make_request(2)
    spool.append(first)
    assert spool.head() is first
    spool.append(second)
    assert spool.head() is first
    spool.settle()
    assert spool.head() == second


def test_nothing_is_left_of_what_was_settled(spool: Spool, tmp_path: Path) -> None:
    for number in range(3):
        spool.append(make_request(number))
    assert spool.bytes == sum(path.stat().st_size for path in segments(tmp_path)) > 0
    drained(spool)
    assert spool.bytes == 0
    assert segments(tmp_path) == []


ACTIONS = st.lists(st.sampled_from(["append", "append", "settle", "restart", "kill"]), max_size=30)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, st.sampled_from([200, 400, ROOMY]))
def test_is_a_queue_through_restarts(actions: list[str], segment_room: int) -> None:
    waiting: deque[EncodedRequest] = deque()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        # The limit makes segments small and is never reached.
        spool = opened(place, max(segment_room * 8, 20 * 30 * 8))
        for number, action in enumerate(actions):
            if action == "append":
                waiting.append(make_request(number))
                spool.append(waiting[-1])
            elif action == "settle" and spool.head():
                spool.settle()
                waiting.popleft()
            elif action in {"restart", "kill"}:
                # A killed process leaves the same, and perhaps a part of a record that nobody was told of.
                spool.close()
                if action == "kill" and segments(place):
                    with segments(place)[-1].open("ab") as torn:
                        torn.write(write_record(make_request(1_000 + number))[:-1])
                spool = opened(place, max(segment_room * 8, 20 * 30 * 8))
            assert spool.head() == (waiting[0] if waiting else None)
        assert drained(spool) == list(waiting)
        spool.close()


def test_oldest_make_room_and_are_handed_back(tmp_path: Path) -> None:
    size = record_size(make_request(100))
    spool = opened(tmp_path, 16 * size)
    displaced: list[EncodedRequest] = []
    for number in range(100, 150):
        request = make_request(number)
        displaced += spool.make_room(request)
        spool.append(request)
        assert spool.bytes <= 16 * size
    rest = drained(spool)
    assert displaced + rest == [make_request(number) for number in range(100, 150)]
    assert len(rest) >= 14, "what makes room is a small part"
    spool.close()


def test_what_was_settled_is_not_displaced(tmp_path: Path) -> None:
    size = record_size(make_request(100))
    spool = opened(tmp_path, 16 * size)
    for number in range(100, 116):
        spool.append(make_request(number))
    spool.settle()
    assert list(spool.make_room(make_request(200))) == [make_request(101)]
    spool.close()


def test_damage_is_counted_and_the_rest_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = opened(tmp_path)
    for numbers in ((1, 2), (3, 4, 5), (6,)):
        spool.append(make_request(*numbers))
    spool.close()
    [path] = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"[3, 4, 5]") + 1] = ord("9")
    path.write_bytes(data)
    damages: list[int] = []
    spool = opened(tmp_path, damages=damages)
    assert drained(spool) == [make_request(1, 2), make_request(6)]
    assert damages == [3]
    assert f"{path} is damaged at byte" in caplog.text
    spool.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 64 KiB; not where pytest cleans up, which cannot delete what is mounted."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)  # a test that fails may have it open


def test_full_disk_leaves_what_is_there_whole(small_disk: Path) -> None:
    spool = opened(small_disk)
    kept: list[EncodedRequest] = []

    def fill() -> None:
        for number in range(100):
            request = EncodedRequest(bytes([number]) * 5_000, 1)
            spool.append(request)
            kept.append(request)

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        fill()
    assert len(kept) > 5
    spool.close()
    damages: list[int] = []
    spool = opened(small_disk, damages=damages)
    assert drained(spool) == kept
    assert damages == []
    spool.append(make_request(1))
    spool.close()


def test_full_disk_is_not_filled_with_empty_files(small_disk: Path) -> None:
    spool = opened(small_disk)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small_disk / "others").write_bytes(bytes(100 << 10))
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            spool.append(make_request(1))
    assert (spool.head(), segments(small_disk)) == (None, [])
    spool.close()


def test_directory_belongs_to_one_agent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = opened(tmp_path)
    assert open_spool(SpoolPlace(tmp_path, ROOMY), print) is None
    assert f"cannot use the spool in {tmp_path} (another agent uses it)" in caplog.text
    spool.close()
    again = open_spool(SpoolPlace(tmp_path, ROOMY), print)
    assert again is not None
    again.close()


def test_place_that_cannot_be_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert open_spool(SpoolPlace(tmp_path / "file" / "spool", ROOMY), print) is None
    assert "Not a directory" in caplog.text


def test_others_cannot_look(tmp_path: Path) -> None:
    spool = opened(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    spool.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.spool").write_text("keep")
    spool = opened(tmp_path)
    spool.append(make_request(1))
    drained(spool)
    spool.close()
    assert (tmp_path / "notes.spool").read_text() == "keep"
