"""`enable_legacy_version`: on a machine with neither BTF nor headers it is said what to install, and the rest goes on.

That it works where there are headers is seen in guests: tests/vm/test_legacy.py.
"""

from __future__ import annotations

import platform
from pathlib import Path

from otel_netagent.kernel.bpf.header_types import CACHE
from otel_netagent.model.probe_status import ProbeState
from tests.agent.hiding import command_seeing, no_btf
from tests.agent.running import Agent


def test_with_neither_btf_nor_headers(tmp_path: Path) -> None:
    empty = tmp_path / "nothing kept"
    empty.mkdir()
    covers = {**no_btf(tmp_path), **({CACHE: empty} if CACHE.is_dir() else {})}
    release = platform.release()
    reason = (
        f"no BTF for kernel {release}, and none can be made from its headers: they are not at "
        f"/lib/modules/{release}/build; install linux-headers-{release} "
        f"(Fedora and its kin: kernel-devel-{release})"
    )
    with Agent(tmp_path, command=command_seeing(covers), legacy=True) as agent:
        probes = agent.probes()
        for name in ("packetloss", "tcpreset"):
            assert (probes[name].state, probes[name].reason) == (ProbeState.UNAVAILABLE, reason)
        assert (probes["tcp"].state, probes["tcp"].hooks[0].way) == (ProbeState.RUNNING, "procfs")
        assert agent.next_collection()
