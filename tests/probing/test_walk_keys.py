"""What the kernel side tells of a namespace finds the one of the walk, by cookie where there are cookies."""

from __future__ import annotations

from otel_netagent.kernel.namespaces import Namespace
from otel_netagent.probing.walk_keys import WalkKeys

HERE, THERE = 4026531840, 4026532000


def test_a_namespace_is_found_by_its_cookie_whatever_inode_is_told() -> None:
    keys = WalkKeys([Namespace(HERE, 1, 30, ()), Namespace(THERE, HERE, 31, ())])
    assert keys.of(1, HERE) == 1
    assert keys.of(HERE, THERE) == HERE
    assert keys.of(2, HERE) is None, "another namespace had this inode before"


def test_where_one_has_a_cookie_that_is_its_inode_cookies_count_all_the_same() -> None:
    keys = WalkKeys([Namespace(HERE, HERE, 30, ()), Namespace(THERE, 2, 31, ())])
    assert keys.of(3, HERE) is None
    assert keys.of(HERE, HERE) == HERE


def test_without_cookies_a_namespace_is_found_by_its_inode() -> None:
    keys = WalkKeys([Namespace(HERE, HERE, 30, ())])
    assert keys.of(1, HERE) == HERE
    assert keys.of(HERE, THERE) is None


def test_of_no_namespaces_none_is_found() -> None:
    assert WalkKeys([]).of(1, HERE) is None
