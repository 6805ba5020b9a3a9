"""gRPC ignores an option that it does not know: each that the project sets must be one of the installed library."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("otel_netagent", "tests", "bench", "tools")
SOURCES = {source for folder in FOLDERS for source in (ROOT / folder).rglob("*.py")} - {Path(__file__)}
LIBRARY = Path(getattr(importlib.util.find_spec("grpc._cython.cygrpc"), "origin", "")).read_bytes()

_OPTION = re.compile(r"grpc(\.[a-z0-9_]+)+")


def is_known(option: str) -> bool:
    """Whether the library holds this name, as C keeps a string: with a zero at its end."""
    return option.encode() + b"\0" in LIBRARY


def options_in(text: str) -> Iterator[str]:
    """Every literal that is one, as in `("grpc.so_reuseport", 0)`."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(name)) if _OPTION.fullmatch(name):
                yield name


OPTIONS = sorted({option for source in SOURCES for option in options_in(source.read_text())})


@pytest.mark.parametrize("option", OPTIONS)
def test_option_is_one_of_the_library(option: str) -> None:
    assert is_known(option)


def test_options_of_servers_and_of_channels_are_found() -> None:
    assert {"grpc.so_reuseport", "grpc.keepalive_time_ms", "grpc.use_local_subchannel_pool"} <= set(OPTIONS)


def test_misspelt_option_is_not_one_of_the_library() -> None:
    misspelt = "grpc.http2.min_recv_ping_interval_without_data_ms"
    assert list(options_in(f'options = [("{misspelt}", 1)]')) == [misspelt]
    assert not is_known(misspelt)
    assert not is_known("grpc.keepalive_time"), "a part of a name is none"
