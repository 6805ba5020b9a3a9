"""Every change of the file is seen, however it is made, once, and never half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.config.watching import Watch

Write = Callable[[str], object]


def settled(watch: Watch) -> bytes | None:
    """What two looks find that is new."""
    first = watch.look()
    assert first is None, "seen before it has settled"
    content = watch.look()
    assert watch.look() is None, "seen twice"
    return None if content is None else content.data


class ConfigMap:
    """A ConfigMap's mount, written as kubelet does (pkg/volume/util/atomic_writer.go).

    `config.yaml` is a link to `..data/config.yaml`, and `..data` one to a directory of the moment, which is replaced
    by renaming another link over it; the directory before is removed.
    """

    def __init__(self, directory: Path, text: str) -> None:
        """Mount it."""
        self._directory = directory
        self._swaps = 0
        self.file = directory / "config.yaml"
        self.swap(text)
        self.file.symlink_to("..data/config.yaml")

    def swap(self, text: str) -> None:
        """Change it."""
        self._swaps += 1
        now = self._directory / f"..2026_11_22_{self._swaps}"
        now.mkdir()
        (now / "config.yaml").write_text(text)
        link = self._directory / "..data_tmp"
        link.symlink_to(now.name)
        before = self._directory / "..data"
        old = before.resolve() if before.is_symlink() else None
        link.rename(before)
        if old:
            (old / "config.yaml").unlink()
            old.rmdir()


def in_config_map(directory: Path) -> tuple[Path, Write]:
    config_map = ConfigMap(directory, "old")
    return config_map.file, config_map.swap


def in_place(directory: Path) -> tuple[Path, Write]:
    file = directory / "config.yaml"
    file.write_text("old")
    return file, file.write_text


def in_place_at_the_same_time(directory: Path) -> tuple[Path, Write]:
    """As if all were written within one tick of the file system's clock."""
    file = directory / "config.yaml"

    def write(text: str) -> None:
        file.write_text(text)
        os.utime(file, (1, 1))

    write("old")
    return file, write


def renamed_over_it(directory: Path) -> tuple[Path, Write]:
    file = directory / "config.yaml"
    file.write_text("old")

    def write(text: str) -> None:
        new = directory / "config.yaml.swp"
        new.write_text(text)
        new.rename(file)

    return file, write


WAYS = pytest.mark.parametrize(
    "way", [in_config_map, in_place, in_place_at_the_same_time, renamed_over_it], ids=lambda each: each.__name__
)


@WAYS
def test_every_change_is_seen_once(way: Callable[[Path], tuple[Path, Write]], tmp_path: Path) -> None:
    file, write = way(tmp_path)
    watch = Watch(file)
    assert (watch.content.file, watch.content.data) == (file, b"old")
    assert settled(watch) is None
    for number in range(5):
        write(f"n{number}")
        assert settled(watch) == f"n{number}".encode()
        assert watch.content.data == f"n{number}".encode()


@WAYS
def test_a_change_that_is_taken_back_is_none(way: Callable[[Path], tuple[Path, Write]], tmp_path: Path) -> None:
    file, write = way(tmp_path)
    watch = Watch(file)
    write("new")
    assert watch.look() is None
    write("old")
    assert settled(watch) is None


def test_a_file_that_is_just_being_written_is_waited_for(tmp_path: Path) -> None:
    file, write = in_place(tmp_path)
    watch = Watch(file)
    for text in ("", "half", "whole"):
        write(text)
        assert watch.look() is None
    assert watch.look() == watch.content
    assert watch.content.data == b"whole"


def test_a_file_that_comes_and_goes_at_a_place_is_seen(tmp_path: Path) -> None:
    first, second = tmp_path / "first" / "config.yaml", tmp_path / "second" / "config.yaml"
    watch = Watch(None, [first, second])
    assert (watch.content.file, watch.content.data) == (None, b"")

    def is_now() -> tuple[Path | None, bytes]:
        settled(watch)
        return watch.content.file, watch.content.data

    second.parent.mkdir()
    second.write_text("2")
    assert is_now() == (second, b"2")
    first.parent.mkdir()
    first.write_text("1")
    assert is_now() == (first, b"1")
    first.unlink()
    assert is_now() == (second, b"2")
    second.unlink()
    assert is_now() == (None, b"")


def test_a_named_file_that_is_gone_is_said_and_its_return_is_seen(tmp_path: Path) -> None:
    file, write = in_place(tmp_path)
    watch = Watch(file)
    file.unlink()
    settled(watch)
    assert watch.content.unreadable == "No such file or directory"
    write("back")
    assert settled(watch) == b"back"


def test_whoever_asks_gets_the_content_of_this_moment(tmp_path: Path) -> None:
    file, write = in_place(tmp_path)
    watch = Watch(file)
    assert watch.look_now().data == b"old"
    write("new")
    assert watch.look_now().data == b"new"
    assert watch.look() is None


@pytest.fixture
def pipe() -> Iterator[Path]:
    """Where bash puts the output of `<(command)`."""
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    yield Path(f"/dev/fd/{reading}")
    os.close(reading)


def test_what_can_be_read_only_once_stays(pipe: Path) -> None:
    watch = Watch(pipe)
    assert watch.content.data == b"from a pipe"
    assert settled(watch) is None
    assert watch.look_now().data == b"from a pipe"


@given(st.lists(st.sampled_from("abc")), st.integers(0, 2))
def test_only_what_lasts_for_two_looks_is_seen(found: list[str], extra: int) -> None:
    """By a model that knows the whole history: the content changes to what two looks in a row have found."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "config.yaml"
        file.write_text("a")
        watch, now = Watch(file), "a"
        history = [*found, *found[-1:] * extra]
        for before, text in zip(["a", *history], history, strict=False):
            file.write_text(text)
            seen = watch.look()
            expected = text if before == text and text != now else None
            assert (None if seen is None else seen.data.decode()) == expected
            now = expected or now
