"""All outputs, by what their packages declare."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from otel_netagent import outputs
from otel_netagent.outputs.sending.sender import SendingOutput


def sending_outputs() -> tuple[SendingOutput, ...]:
    """Those that send: the OUTPUTS of every package of outputs that has a module `declaration`."""
    return tuple(output for declared in _declarations() for output in declared)


def _declarations() -> Iterator[tuple[SendingOutput, ...]]:
    for package in pkgutil.iter_modules(outputs.__path__):
        if package.ispkg and Path(*outputs.__path__, package.name, "declaration.py").exists():
            yield importlib.import_module(f"{outputs.__name__}.{package.name}.declaration").OUTPUTS
