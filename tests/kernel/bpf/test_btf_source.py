"""BTF is looked for in the specified places, best first."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from otel_netagent.kernel.bpf import btf_source as module
from otel_netagent.kernel.bpf.btf_source import BtfNotFound, BtfSource, candidates, discover
from otel_netagent.kernel.facts import KernelFacts


def under(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Look only below `root`, without what the kernel itself gives; the places, best first."""
    places = [root / path.relative_to("/") for path in candidates(platform.release(), Path("/extra"))]
    monkeypatch.setattr(module, "candidates", lambda *_: iter(places))
    monkeypatch.setattr(module, "KERNEL_BTF", root / "sys/kernel/btf/vmlinux")
    return places


def test_the_kernels_own_is_best(kernel: KernelFacts) -> None:
    assert discover() == BtfSource(Path("/sys/kernel/btf/vmlinux"), in_kernel=True) == kernel.source
    assert kernel.custom_btf is None


def test_places_are_tried_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = under(tmp_path, monkeypatch)
    assert [str(place).removeprefix(str(tmp_path)).split("/")[1] for place in places][:2] == ["sys", "extra"]
    for place in reversed(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert discover() == BtfSource(place, in_kernel=place == places[0])


def test_the_specified_places_are_all_there() -> None:
    release = "5.10.1"
    assert {
        "/sys/kernel/btf/vmlinux",
        "/boot/vmlinux",
        "/boot/vmlinux-5.10.1",
        "/usr/lib/debug/lib/modules/5.10.1/vmlinux",
    } <= {str(path) for path in candidates(release)}
    assert [path for path in candidates(release) if str(path).startswith("/lib/modules/5.10.1/")]
    assert [path for path in candidates(release, Path("/mine")) if path.parent == Path("/mine")]


def test_where_none_is_found_the_places_and_the_remedy_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = under(tmp_path, monkeypatch)
    with pytest.raises(BtfNotFound) as not_found:
        discover()
    text = str(not_found.value)
    assert "\n" not in text
    assert platform.release() in text
    assert "CONFIG_DEBUG_INFO_BTF=y" in text
    assert [place for place in places if str(place) not in text] == []


def test_a_copy_of_the_kernels_types_serves_where_the_kernel_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: KernelFacts
) -> None:
    under(tmp_path, monkeypatch)
    copy = tmp_path / "boot" / f"{platform.release()}.btf"
    copy.parent.mkdir()
    shutil.copyfile(kernel.source.path, copy)
    found = KernelFacts.find(kernel.objects)
    assert found.custom_btf == copy
    assert found.btf.structure("net") == kernel.btf.structure("net")
