"""What is observed in each collection adds up, for as long as the namespace is the same."""

from __future__ import annotations

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.model.table import Distribution
from otel_netagent.probing.accumulated import Accumulated

HERE, THERE = Namespace(4026531840, 1, 1, ()), Namespace(4026532000, 2, 1, ())


def test_observations_add_up() -> None:
    accumulated = Accumulated()
    assert accumulated.add({HERE.inode: Distribution((1, 2, 3), 20.0)}, [HERE, THERE]) == {
        (HERE.cookie, ()): (Distribution((1, 2, 3), 20.0),)
    }
    assert accumulated.add({}, [HERE, THERE]) == {(HERE.cookie, ()): (Distribution((1, 2, 3), 20.0),)}
    assert accumulated.add(
        {HERE.inode: Distribution((1, 0, 1), 5.0), THERE.inode: Distribution((1, 0, 0), 1.0)}, [HERE, THERE]
    ) == {
        (HERE.cookie, ()): (Distribution((2, 2, 4), 25.0),),
        (THERE.cookie, ()): (Distribution((1, 0, 0), 1.0),),
    }


def test_a_namespace_without_observations_has_no_row() -> None:
    assert Accumulated().add({HERE.inode: Distribution((0, 0, 0), 0.0)}, [HERE]) == {}


def test_who_gets_the_number_of_a_namespace_that_is_gone_begins_again() -> None:
    accumulated = Accumulated()
    accumulated.add({HERE.inode: Distribution((1, 0, 0), 1.0)}, [HERE])
    successor = HERE._replace(cookie=9)
    assert accumulated.add({HERE.inode: Distribution((0, 1, 0), 2.0)}, [successor]) == {
        (successor.cookie, ()): (Distribution((0, 1, 0), 2.0),)
    }
