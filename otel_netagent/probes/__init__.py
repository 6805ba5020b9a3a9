"""The probes, one module each: what it declares, how it attaches, how it reads."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from otel_netagent.probing.declaration import Probe


def catalogue() -> Mapping[str, Probe]:
    """All probes by name: the PROBE of every module of this package."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    return {probe.name: probe for probe in (module.PROBE for module in modules)}
