"""The wheel: that it holds every eBPF object, and that these are as kernels and users need them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The eBPF objects of a wheel that is built now."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return sorted(directory.glob("otel_netagent/_bpf/*"))


def test_the_wheel_has_one_object_for_each_source(objects: list[Path]) -> None:
    sources = sorted((ROOT / "bpf").glob("*.bpf.c"))
    assert sources
    assert [path.name for path in objects] == [f"{source.stem}.o" for source in sources]


def test_objects_have_btf_and_no_other_debug_information(objects: list[Path]) -> None:
    for path in objects:
        sections = subprocess.run(
            ["llvm-readelf", "--sections", path], check=True, capture_output=True, text=True
        ).stdout
        assert ".BTF.ext" in sections
        assert ".debug_" not in sections


def test_objects_do_not_tell_where_they_were_built(objects: list[Path]) -> None:
    for path in objects:
        assert str(ROOT).encode() not in path.read_bytes()


def test_objects_have_no_instruction_that_linux_5_10_does_not_know(objects: list[Path]) -> None:
    """Atomic operations whose result is used, or that are no addition, came in 5.12; the rest is -mcpu's care."""
    for path in objects:
        code = subprocess.run(["llvm-objdump", "-d", path], check=True, capture_output=True, text=True).stdout
        assert not re.findall(r"atomic_fetch.*|xchg.*|lock .* [^+]= .*", code), path.name
