"""Build hook of hatchling: compiles the eBPF objects and puts them into the wheel."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfObjectsHook(BuildHookInterface[Any]):
    """Leaves the compiling to the Makefile, the one place that knows the compiler's flags."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the objects, and name them for the wheel: it would leave them out, since git ignores them."""
        try:
            subprocess.run(["make", "--directory", self.root, "bpf"], check=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            self.app.abort(
                f"otel-netagent: eBPF objects not built: {error}; make, clang, llvm and libbpf's headers are needed"
            )
        sources = Path(self.root, "bpf").glob("*.bpf.c")
        build_data["artifacts"] += [f"/otel_netagent/_bpf/{source.stem}.o" for source in sources]
        # No Python extension, and yet for one architecture: its registers' layout is compiled in.
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
