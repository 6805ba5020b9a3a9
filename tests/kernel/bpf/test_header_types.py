"""Types from the kernel's headers: asked for once, kept whole or not at all, and what is missing is said.

Compiling them for real takes headers of the kernel that runs: tests/vm/legacy.
"""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from otel_netagent.kernel.bpf.btf_source import BtfNotFound, BtfSource
from otel_netagent.kernel.bpf.header_types import from_headers

_FAILURE = f"no BTF for kernel {platform.release()}, and none can be made from its headers: "

Compiler: TypeAlias = Callable[[str], None]
"""Has a script stand in for the interpreter that runs the compiler; its fourth argument is the file to write."""


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    script = tmp_path / "interpreter"
    monkeypatch.setattr(sys, "executable", str(script))

    def compile_by(lines: str) -> None:
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(0o700)

    return compile_by


def reason(cache: Path) -> str:
    with pytest.raises(BtfNotFound) as failed:
        from_headers(cache)
    text = str(failed.value)
    assert text.startswith(_FAILURE)
    return text.removeprefix(_FAILURE)


def reason_where(*hidden: str) -> str:
    """What is said on a machine where there is nothing in these directories."""
    covers = [f"mount -t tmpfs hidden {shlex.quote(path)}" for path in hidden if Path(path).is_dir()]
    ask = (
        "import pathlib, tempfile; from otel_netagent.kernel.bpf.header_types import from_headers\n"
        "with tempfile.TemporaryDirectory() as cache: from_headers(pathlib.Path(cache))"
    )
    command = ("unshare", "--mount", "sh", "-c", " && ".join([*covers, 'exec "$@"']), "sh", sys.executable, "-c", ask)
    said = subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False).stderr.splitlines()[-1]
    assert said.startswith(f"otel_netagent.kernel.bpf.btf_source.BtfNotFound: {_FAILURE}")
    return said.partition(_FAILURE)[2]


def test_what_was_compiled_is_kept_and_taken_again(tmp_path: Path, compiler: Compiler) -> None:
    cache = tmp_path / "not" / "there yet"
    compiler('printf types > "$4"')
    source = from_headers(cache)
    assert source == BtfSource(source.path, in_kernel=False)
    assert source.path.read_text() == "types"
    assert re.fullmatch(rf"{re.escape(platform.release())}-[0-9a-f]{{16}}\.btf", source.path.name)
    compiler("exit 1")
    assert from_headers(cache) == source
    assert list(cache.iterdir()) == [source.path]


def test_of_a_failure_nothing_is_kept(tmp_path: Path, compiler: Compiler) -> None:
    cache = tmp_path / "cache"
    compiler('printf half > "$4"; exit 1')
    assert reason(cache) == "BCC: exit status 1"
    assert list(cache.iterdir()) == []
    compiler('printf types > "$4"')
    assert from_headers(cache).path.read_text() == "types"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "echo 'In file included from x.h:1:\nx.h:7:1: error: unknown type name u8\n1 error generated.' >&2; exit 1",
            "error: unknown type name u8 (a BCC that is older than the kernel may not be able to compile its headers)",
        ),
        (
            "echo 'Traceback:\nBpfError: the kernel rejected the types' >&2; exit 1",
            "BpfError: the kernel rejected the types",
        ),
        ("kill -KILL $$", "the process that compiles them was killed; allow it 300 MB of memory"),
    ],
    ids=["the compiler's error", "the last line", "killed"],
)
def test_why_it_failed_is_one_line(lines: str, said: str, tmp_path: Path, compiler: Compiler) -> None:
    compiler(lines)
    assert reason(tmp_path / "cache") == said


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.touch()
    assert reason(cache) == f"{cache}: File exists; let it be a directory that can be written to"


def test_without_headers_their_package_is_named() -> None:
    release = platform.release()
    assert reason_where(f"/lib/modules/{release}") == (
        f"they are not at /lib/modules/{release}/build; install linux-headers-{release} "
        f"(Fedora and its kin: kernel-devel-{release})"
    )


def test_without_bcc_its_package_is_named() -> None:
    assert reason_where("/usr/lib/python3/dist-packages") == (
        "BCC is missing, which compiles them; install python3-bpfcc (Fedora and its kin: python3-bcc)"
    )
