"""All outputs, by what their packages declare."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from otel_netagent import outputs
from otel_netagent.outputs.declaration import Output


def catalogue() -> tuple[Output, ...]:
    """The OUTPUTS of every package of outputs that has a module `declaration`."""
    packages = (each.name for each in pkgutil.iter_modules(outputs.__path__) if each.ispkg)
    declared = (name for name in packages if Path(*outputs.__path__, name, "declaration.py").exists())
    modules = (importlib.import_module(f"{outputs.__name__}.{name}.declaration") for name in declared)
    return tuple(output for module in modules for output in module.OUTPUTS)
