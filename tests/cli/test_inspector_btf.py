"""`inspector btf` on the kernel of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_netagent.cli.inspector import main
from otel_netagent.kernel.bpf import btf_source, header_types
from otel_netagent.kernel.bpf.btf_source import KERNEL_BTF, BtfSource


def test_kernels_own_btf_is_found_and_works() -> None:
    done = CliRunner().invoke(main, ["btf"])
    assert done.exit_code == 0
    assert done.stdout == "/sys/kernel/btf/vmlinux\n"
    assert done.stderr.startswith("the BTF works: ")


def test_none_found_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(btf_source, "candidates", lambda _release, _extra: [tmp_path / "vmlinux"])
    done = CliRunner().invoke(main, ["btf"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: no BTF for kernel ")
    assert str(tmp_path / "vmlinux") in done.stderr
    assert done.stderr.count("\n") == 1


def test_file_without_btf_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"not a kernel")
    monkeypatch.setattr(btf_source, "candidates", lambda _release, _extra: [tmp_path / "vmlinux"])
    done = CliRunner().invoke(main, ["btf"])
    assert done.exit_code == 1
    assert done.stdout == f"{tmp_path}/vmlinux\n"
    assert done.stderr.startswith(f"Error: {tmp_path}/vmlinux: ")
    assert done.stderr.count("\n") == 1


def test_headers_stand_in_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tmp_path / "made.btf"
    shutil.copyfile(KERNEL_BTF, made)
    monkeypatch.setattr(btf_source, "candidates", lambda _release, _extra: [tmp_path / "vmlinux"])
    monkeypatch.setattr(header_types, "from_headers", lambda: BtfSource(made, in_kernel=False))
    done = CliRunner().invoke(main, ["btf", "--headers"])
    assert done.exit_code == 0
    assert done.stdout == f"{made}\n"


def test_directory_must_exist() -> None:
    assert CliRunner().invoke(main, ["btf", "--dir", "/no/such/directory"]).exit_code == 2
