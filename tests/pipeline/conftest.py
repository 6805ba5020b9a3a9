"""Fixtures of the pipeline's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_netagent.kernel.bpf.bpf_object import Map
from tests.kernel.fixtures import CompileBpf
from tests.pipeline.made_up import real_rings


@pytest.fixture(scope="session")
def rings(compile_bpf: CompileBpf) -> Iterator[tuple[Map, ...]]:
    """Three ring buffers in which nothing ever comes."""
    with real_rings(compile_bpf) as rings:
        yield rings
