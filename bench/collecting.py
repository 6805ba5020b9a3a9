"""Probes, and a collector of them, as the agent has them on a node whose namespaces are known for long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import chain, repeat

from otel_netagent.identity.registry import Registry
from otel_netagent.pipeline.collector import Collector
from otel_netagent.pipeline.kernel_access import KernelAccess
from otel_netagent.probes import catalogue
from otel_netagent.probing.attach import Unavailable
from otel_netagent.probing.declaration import Environment, EventSettings, RunningProbe


def started(name: str, access: KernelAccess, stack: contextlib.ExitStack) -> RunningProbe:
    """The probe of this name, running until the end of `stack`, with its events. Raises Unavailable."""
    probe = catalogue()[name].start(Environment(access.facts, access.no_kernel, access.walk))
    stack.callback(probe.close)
    if probe.event_source:
        probe.event_source.configure(EventSettings())
    return probe


def collector_of(names: Iterable[str], access: KernelAccess, stack: contextlib.ExitStack) -> Collector:
    """Of those of these probes that this kernel lets run. It has collected before."""
    probes = {}
    for name in sorted(names):
        with contextlib.suppress(Unavailable):
            probes[name] = started(name, access, stack)
    # An hour passes behind the first collection: nobody looks again whether a namespace has become a pod's.
    seconds = chain((0.0, 0.0), repeat(3600.0))
    collector = Collector(access.walk.walk, Registry(clock=lambda: next(seconds)), probes, (), interval_s=5)
    collector.collect()
    return collector
