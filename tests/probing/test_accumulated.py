"""What is observed in each collection adds up, for as long as the namespace is the same."""

from __future__ import annotations

import struct

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.series import Kind, Series
from otel_netagent.model.table import Distribution
from otel_netagent.probing.accumulated import Accumulated

SERIES = Series("inspector_pod_tiny", Kind.HISTOGRAM, "s", "durations", "a test", bounds=(1.0, 2.0))
HERE, THERE = Namespace(4026531840, 1, 1, ()), Namespace(4026532000, 2, 1, ())
SECOND = 1_000_000_000


def histogram(*counts: int, seconds: int) -> bytes:
    """`struct histogram`."""
    return struct.pack("=33Q", seconds * SECOND, *counts, *[0] * (32 - len(counts)))


def test_observations_add_up() -> None:
    accumulated = Accumulated(SERIES)
    assert accumulated.add({HERE.inode: histogram(1, 2, 3, seconds=20)}, [HERE, THERE]) == {
        (HERE.cookie, ()): (Distribution((1, 2, 3), 20.0),)
    }
    assert accumulated.add({}, [HERE, THERE]) == {(HERE.cookie, ()): (Distribution((1, 2, 3), 20.0),)}
    assert accumulated.add(
        {HERE.inode: histogram(1, 0, 1, seconds=5), THERE.inode: histogram(1, seconds=1)}, [HERE, THERE]
    ) == {
        (HERE.cookie, ()): (Distribution((2, 2, 4), 25.0),),
        (THERE.cookie, ()): (Distribution((1, 0, 0), 1.0),),
    }


def test_a_namespace_without_observations_has_no_row() -> None:
    assert Accumulated(SERIES).add({HERE.inode: histogram(seconds=0)}, [HERE]) == {}


def test_who_gets_the_number_of_a_namespace_that_is_gone_begins_anew() -> None:
    accumulated = Accumulated(SERIES)
    accumulated.add({HERE.inode: histogram(1, seconds=1)}, [HERE])
    successor = HERE._replace(cookie=9)
    assert accumulated.add({HERE.inode: histogram(0, 1, seconds=2)}, [successor]) == {
        (successor.cookie, ()): (Distribution((0, 1, 0), 2.0),)
    }
