"""The running kernel, and tiny eBPF objects for it, compiled while the tests run with the flags of the agent's own."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.pipeline.kernel_access import OBJECTS

ROOT = Path(__file__).parents[2]

CompileBpf: TypeAlias = Callable[[str], Path]
"""From the C source of an object, without its licence, to the path of the object: `<directory>/tiny.bpf.o`."""

_LICENCE = '\nchar LICENSE[] SEC("license") = "Dual BSD/GPL";\n'


@pytest.fixture(scope="session")
def kernel() -> KernelFacts:
    """The running kernel, and the agent's own objects for it."""
    return KernelFacts.find(OBJECTS, legacy=True)


@pytest.fixture(scope="session")
def compile_bpf(tmp_path_factory: pytest.TempPathFactory) -> CompileBpf:
    """Compiles a source that begins with an `#include` of bpf/include; the same source only once."""
    compiler = shlex.split(_printed_by_make("$(CLANG) $(BPF_CFLAGS)"))
    directory = tmp_path_factory.mktemp("objects")

    def compiled(source: str) -> Path:
        target = directory / hashlib.sha256(source.encode()).hexdigest()[:16] / "tiny.bpf.o"
        if not target.exists():
            target.parent.mkdir()
            subprocess.run(
                [*compiler, "-x", "c", "-c", "-", "-o", target],
                input=source + _LICENCE,
                cwd=ROOT,
                text=True,
                check=True,
            )
        return target

    return compiled


def _printed_by_make(expression: str) -> str:
    """The Makefile is the one place that knows the compiler's flags."""
    goal = f"printed:;@echo '{expression}'"
    return subprocess.run(
        ["make", "--silent", f"--eval={goal}", "printed"], cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE
    ).stdout
