"""The copy equals what the API has, whatever happens on the way: the state machine against a model of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from otel_netagent.identity.kubernetes.pod_store import (
    DELETED_S,
    ApiFailed,
    ConnectionLost,
    Listing,
    PodStore,
    VersionAhead,
    VersionGone,
    WatchEvent,
)
from otel_netagent.identity.pod import Pod
from tests.identity.kubernetes.pods import pod_document
from tests.identity.node import Clock

UIDS = ("a", "b", "c")


class Api:
    """An API without a network: its pods, the log of its changes, and what goes wrong next."""

    def __init__(self) -> None:
        """No pod, and nothing wrong."""
        self.pods: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, WatchEvent]] = []
        self.version = self.forgotten = 1
        self.breaks_after: int | None = None
        self.fails = False
        self.lists: list[str] = []

    def put(self, uid: str, label: str, ip: str) -> None:
        """Create or change a pod."""
        kind = "MODIFIED" if uid in self.pods else "ADDED"
        self.version += 1
        self.pods[uid] = pod_document(f"pod-{uid}", uid=uid, ip=ip, labels={"l": label}, version=self.version)
        self.log.append((self.version, WatchEvent(kind, self.pods[uid])))

    def delete(self, uid: str) -> None:
        """Delete one."""
        self.version += 1
        document = self.pods.pop(uid)
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        self.log.append((self.version, WatchEvent("DELETED", document)))

    def bookmark(self) -> None:
        """Something that only a bookmark tells."""
        self.version += 1
        self.log.append((self.version, WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})))

    def forget(self) -> None:
        """Compact."""
        self.forgotten = self.version
        self.log.clear()

    def list(self, version: str) -> Listing:
        """See PodsApi."""
        self.lists.append(version)
        if self.fails:
            raise ApiFailed("HTTP status 503: not now")
        if version and int(version) > self.version:
            raise VersionAhead("Too large resource version")
        return Listing(str(self.version), tuple(self.pods.values()))

    @contextmanager
    def watch(self, version: str) -> Iterator[Iterator[WatchEvent]]:
        """See PodsApi."""
        if self.fails:
            raise ApiFailed("HTTP status 503: not now")
        if int(version) < self.forgotten:
            raise VersionGone("too old resource version")
        yield self._events(int(version))

    def _events(self, version: int) -> Iterator[WatchEvent]:
        for told, (at, event) in enumerate([each for each in self.log if each[0] > version]):
            if told == self.breaks_after:
                raise ConnectionLost("the connection was lost")
            assert at > version
            yield event


def turn(store: PodStore) -> None:
    """What the thread does once."""
    if store.must_list:
        store.list()
    with suppress(VersionGone):
        for _ in store.follow():
            pass


class AnyHistory(RuleBasedStateMachine):
    """Changes, forgetting, breaking off and failing in any order, and a turn of the copy now and then."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.api, self.clock = Api(), Clock()
        self.known: list[Mapping[str, Pod]] = []
        self.store = PodStore(self.api, self.known.append, self.clock)
        self.in_step = False

    @rule(uid=st.sampled_from(UIDS), label=st.sampled_from("xy"), ip=st.sampled_from(["", "10.0.0.1"]))
    def put(self, uid: str, label: str, ip: str) -> None:
        """A pod is created or changed."""
        self.api.put(uid, label, ip)
        self.in_step = False

    @precondition(lambda self: self.api.pods)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """A pod is deleted."""
        self.api.delete(data.draw(st.sampled_from(sorted(self.api.pods))))
        self.in_step = False

    @rule()
    def bookmark(self) -> None:
        """Something happens elsewhere."""
        self.api.bookmark()

    @rule()
    def forget(self) -> None:
        """The API forgets its log."""
        self.api.forget()

    @rule(seconds=st.sampled_from([1.0, DELETED_S, 45 * 60.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @rule(breaks_after=st.none() | st.integers(0, 3), fails=st.booleans())
    def turn_in_trouble(self, breaks_after: int | None, fails: bool) -> None:
        """The API fails, or breaks a watch off."""
        self.api.breaks_after, self.api.fails = breaks_after, fails
        before = self.known[-1:]
        try:
            turn(self.store)
        except ApiFailed:
            if fails:
                assert self.known[-1:] == before, "what was known is held to"
        self.api.breaks_after, self.api.fails = None, False

    @rule()
    def turns_without_trouble(self) -> None:
        """All goes well for as long as it takes."""
        for _ in range(2):  # the first may find out that it must list
            turn(self.store)
        if self.store.must_list:
            turn(self.store)
        self.in_step = True

    @invariant()
    def what_is_known_is_what_there_is(self) -> None:
        """And nothing is told twice."""
        known = dict(self.known[-1]) if self.known else {}
        assert all(before != after for before, after in zip(self.known, self.known[1:], strict=False))
        if self.in_step:
            there = {uid: known.pop(uid) for uid in self.api.pods}
            assert {uid: (pod.labels["l"], pod.ip) for uid, pod in there.items()} == {
                uid: (document["metadata"]["labels"]["l"], document["status"].get("podIP", ""))
                for uid, document in self.api.pods.items()
            }
            assert self.store.count == len(self.api.pods)
            assert known.keys() <= set(UIDS) - self.api.pods.keys(), "others were deleted"


TestAnyHistory = AnyHistory.TestCase


@pytest.fixture
def api() -> Api:
    return Api()


def followed(api: Api, clock: Clock) -> tuple[PodStore, list[Mapping[str, Pod]]]:
    known: list[Mapping[str, Pod]] = []
    store = PodStore(api, known.append, clock)
    turn(store)
    return store, known


def test_a_pod_that_is_deleted_keeps_its_name_for_a_while(api: Api) -> None:
    api.put("a", "x", "10.0.0.1")
    store, known = followed(api, clock := Clock())
    api.delete("a")
    turn(store)
    assert (store.count, set(known[-1])) == (0, {"a"})
    clock.now += DELETED_S
    api.put("b", "x", "10.0.0.2")
    turn(store)
    assert set(known[-1]) == {"b"}


def test_a_change_of_the_status_alone_is_no_change(api: Api) -> None:
    api.put("a", "x", "10.0.0.1")
    store, known = followed(api, Clock())
    api.put("a", "x", "10.0.0.1")
    turn(store)
    assert len(known) == 1


def test_the_first_list_is_of_any_version_and_later_ones_are_not_older_than_what_was_seen(api: Api) -> None:
    store, _ = followed(api, Clock())
    api.put("a", "x", "10.0.0.1")
    turn(store)
    api.bookmark()
    api.forget()
    turn(store)
    turn(store)
    assert api.lists == ["0", "2"]


@pytest.mark.parametrize("unknown", [VersionGone, VersionAhead])
def test_where_the_api_does_not_know_the_version_any_more_the_newest_is_listed(
    api: Api, unknown: type[ApiFailed], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, known = followed(api, clock := Clock())
    api.put("a", "x", "10.0.0.1")
    given = api.list

    def of_the_newest_only(version: str) -> Listing:
        if version:
            raise unknown("no such version")
        return given(version)

    monkeypatch.setattr(api, "list", of_the_newest_only)
    clock.now += 45 * 60
    turn(store)
    assert set(known[-1]) == {"a"}
    assert api.lists == ["0", ""]


@pytest.mark.parametrize("changes", [False, True], ids=["while nothing comes", "at the next message"])
def test_all_are_listed_every_30_to_45_minutes_in_any_case(api: Api, changes: bool) -> None:
    """Of which 8 are how long a watch may be silent before it ends."""
    api.put("a", "x", "10.0.0.1")
    store, _ = followed(api, clock := Clock())
    del api.pods["a"]  # without a word
    waited = []
    for _ in range(50):
        listed, began = len(api.lists), clock.now
        while len(api.lists) == listed:
            if changes:
                api.put("b", str(clock.now), "10.0.0.2")
            turn(store)
            clock.now += 20
        waited.append(clock.now - 20 - began)
    assert store.count == changes
    assert min(waited) >= 30 * 60 - 40
    assert max(waited) <= 37 * 60 + 40
    assert len(set(waited)) > 5, "not all nodes at once"


def test_a_list_that_is_due_ends_the_watch(api: Api) -> None:
    store, _ = followed(api, clock := Clock())
    for _ in range(3):
        api.put("a", str(api.version), "10.0.0.1")
    clock.now += 45 * 60
    assert len(list(store.follow())) == 1


def test_what_is_no_pod_is_reported_and_all_are_listed_again(api: Api) -> None:
    store, _ = followed(api, Clock())
    api.log.append((2, WatchEvent("ADDED", {"metadata": {"name": "x"}})))
    with pytest.raises(ApiFailed, match="the watch reports an object that is not a pod"):
        turn(store)
    assert store.must_list


def test_what_the_api_says_is_listed_after_and_a_broken_connection_is_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = followed(api, Clock())
    for error, must_list in ((ConnectionLost("reset"), False), (ApiFailed("HTTP status 500"), True)):

        def watch(_version: str, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(api, "watch", watch)
        with pytest.raises(ApiFailed):
            turn(store)
        assert store.must_list is must_list
