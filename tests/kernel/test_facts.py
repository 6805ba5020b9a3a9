"""Facts that are large are kept no longer than they are needed."""

from __future__ import annotations

import weakref

from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.pipeline.kernel_access import OBJECTS


def test_types_that_are_forgotten_are_freed_and_read_again_when_asked_for() -> None:
    facts = KernelFacts.find(OBJECTS)
    types = weakref.ref(facts.btf)
    assert facts.btf is types()
    facts.forget_types()
    assert types() is None
    assert facts.btf.has_member("net", "net_cookie")
    facts.forget_types()
    facts.forget_types()
