"""The library is found or its absence explained, and what it says reaches the one who asked."""

from __future__ import annotations

import errno
import threading

import pytest

from otel_netagent.kernel.bpf import libbpf


def open_missing_file() -> int | None:
    handle: int | None = libbpf.load().bpf_object__open_file(b"/no/such/file.bpf.o", None)
    return handle


def test_the_library_is_loaded_once() -> None:
    assert libbpf.load() is libbpf.load()


def test_a_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "SONAME", "libbpf.so.99")
    with pytest.raises(libbpf.LibbpfMissing, match=r"^libbpf\.so\.99 cannot be loaded .*install libbpf 1\.0 or newer"):
        libbpf.Libbpf()


def test_what_the_library_says_is_formatted_and_kept() -> None:
    with libbpf.load().messages() as messages:
        assert not open_missing_file()
    assert len(messages) == 1  # the library's warnings, and nothing of how it went about its work
    assert "/no/such/file.bpf.o" in messages[0]


def test_the_library_says_nothing_to_anybody_else(capfd: pytest.CaptureFixture[str]) -> None:
    with libbpf.load().messages() as messages:
        other = threading.Thread(target=open_missing_file)
        other.start()
        other.join()
    open_missing_file()
    assert messages == []
    assert capfd.readouterr() == ("", "")


def test_an_unknown_function_fails_at_once() -> None:
    with pytest.raises(AttributeError, match="bpf_no_such_function"):
        libbpf.load().bpf_no_such_function()


def test_an_error_is_told_by_name_and_meaning() -> None:
    assert libbpf.error_text(errno.EPERM) == "EPERM (Operation not permitted)"
    assert libbpf.error_text(524) == "ENOTSUPP (Operation is not supported)"  # the kernel's own, in no errno.h
    assert libbpf.error_text(9999) == "9999 (Unknown error 9999)"
