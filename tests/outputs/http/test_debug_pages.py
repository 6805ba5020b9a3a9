"""What the agent's threads are doing, told to clients on this machine, and only when it is wanted."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from otel_netagent.outputs.http.debug_pages import DebugPages, profile, stacks
from otel_netagent.outputs.http.server import HttpServer


@pytest.fixture
def waiting_thread() -> Iterator[threading.Thread]:
    """A thread whose stack is known."""
    enough = threading.Event()

    def wait_until_it_is_enough() -> None:
        enough.wait()

    thread = threading.Thread(target=wait_until_it_is_enough, name="one-that-waits")
    thread.start()
    yield thread
    enough.set()
    thread.join()


@pytest.mark.usefixtures("waiting_thread")
def test_stacks_are_of_every_thread() -> None:
    text = stacks()
    for thread in threading.enumerate():
        assert f"{thread.name}, {thread.native_id}" in text.splitlines()
    (own,) = [part for part in text.split("\n\n") if part.startswith("one-that-waits, ")]
    assert "in wait_until_it_is_enough\n    enough.wait()\n" in own


@pytest.mark.usefixtures("waiting_thread")
def test_a_profile_says_where_each_thread_was_and_how_often() -> None:
    lines = [line.rpartition(" ") for line in profile(0.2).splitlines()]
    (found,) = [(stack, int(count)) for stack, _, count in lines if stack.startswith("one-that-waits;")]
    assert re.search(r";[\w.]*waiting_thread\.<locals>\.wait_until_it_is_enough;threading\.Event\.wait;", found[0])
    assert 2 <= found[1] <= 20
    assert not [stack for stack, _, _ in lines if "debug_pages.profile" in stack], "it does not tell of itself"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_clients_on_this_machine_are_answered(peer: str) -> None:
    assert DebugPages().answer("/debug/stacks", peer)[0] is HTTPStatus.OK


@pytest.mark.parametrize("peer", ["10.1.2.3", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:10.1.2.3"])  # noqa: S104 - as a client
@pytest.mark.parametrize("target", ["/debug/stacks", "/debug/profile", "/debug/nothing"])
def test_others_are_not(peer: str, target: str) -> None:
    status, text = DebugPages().answer(target, peer)
    assert status is HTTPStatus.FORBIDDEN
    assert "kubectl port-forward" in text


@pytest.mark.parametrize("seconds", ["0", "61", "-1", "1.5", "x", "%E0%A5%A7", "9" * 5000])
def test_a_bad_number_of_seconds_is_refused(seconds: str) -> None:
    assert DebugPages().answer(f"/debug/profile?seconds={seconds}", "::1") == (
        HTTPStatus.BAD_REQUEST,
        "seconds: not a whole number from 1 to 60\n",
    )


def test_one_profile_at_a_time() -> None:
    pages = DebugPages()
    answers: list[HTTPStatus] = []
    first = threading.Thread(target=lambda: answers.append(pages.answer("/debug/profile?seconds=1", "::1")[0]))
    first.start()
    while first.is_alive() and HTTPStatus.CONFLICT not in answers:
        answers.append(pages.answer("/debug/profile?seconds=1", "::1")[0])
    first.join()
    assert HTTPStatus.CONFLICT in answers
    assert HTTPStatus.OK in answers


def test_the_server_offers_them_only_while_it_is_to() -> None:
    server = HttpServer(0, lambda: "{}")
    try:
        assert _status(server, "/debug/stacks") == HTTPStatus.NOT_FOUND
        server.debug = True
        assert _status(server, "/debug/stacks") == HTTPStatus.OK
        assert _status(server, "/debug/") == HTTPStatus.NOT_FOUND
        assert _status(server, "/debug/profile?seconds=none") == HTTPStatus.BAD_REQUEST
        server.debug = False
        assert _status(server, "/debug/stacks") == HTTPStatus.NOT_FOUND
    finally:
        server.close()


def test_metrics_are_switched_off_and_on() -> None:
    server = HttpServer(0, lambda: "{}")
    try:
        server.publish(lambda: [b"a 1\n"])
        server.switch_metrics(on=True)
        assert _status(server, "/metrics") == HTTPStatus.OK, "it was on"
        server.switch_metrics(on=False)
        server.publish(lambda: [b"a 2\n"])
        assert _status(server, "/metrics") == HTTPStatus.NOT_FOUND
        server.switch_metrics(on=True)
        assert _status(server, "/metrics") == HTTPStatus.SERVICE_UNAVAILABLE, "nothing old is shown"
        server.publish(lambda: [b"a 3\n"])
        assert _status(server, "/metrics") == HTTPStatus.OK
    finally:
        server.close()


def _status(server: HttpServer, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", target)
        with connection.getresponse() as response:
            return response.status
    finally:
        connection.close()
