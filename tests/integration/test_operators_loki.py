"""What a real Loki alone can show; the operator's own, where one is in PATH."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from otel_netagent.outputs.sending.outcome import Accepted
from tests.integration.commands import run
from tests.integration.log_queries import Selection, await_entries
from tests.integration.pushing import made_up, push, with_first_too_old
from tools.stack.loki import Loki
from tools.stack.services import Stack

pytestmark = [pytest.mark.integration, pytest.mark.loki, pytest.mark.parametrize("stack", [Loki.name], indirect=True)]


@pytest.fixture
def loki(stack: Stack) -> Loki:
    """It, with ports and a directory of this test's own; it does not run."""
    assert isinstance(stack.log_store, Loki)
    return stack.log_store


def test_takes_its_file(loki: Loki) -> None:
    done = run([*loki.command, "-verify-config"], loki.environ)
    assert done.returncode == 0, done.stderr


def test_that_allows_no_metadata_gets_the_lines(loki: Loki) -> None:
    plain = replace(loki, options=["-validation.allow-structured-metadata=false"])
    events = made_up(time.time_ns(), "plain")
    with plain.service():
        assert push(plain, events) == Accepted()
        since_ns = events[0].event.time_ns
        entries = await_entries(plain, Selection({"job": "otel-netagent"}), since_ns, at_least=len(events))
    assert [(entry.time_ns, entry.line) for entry in entries] == [(each.event.time_ns, each.line) for each in events]
    assert not any("pod" in entry.metadata for entry in entries)


def test_one_that_is_too_old_is_counted_and_the_others_arrive(loki: Loki) -> None:
    """Older than limits_config.reject_old_samples_max_age, which is a week."""
    old, *others = with_first_too_old(made_up(time.time_ns(), "too-old"))
    with loki.service():
        outcome = push(loki, [old, *others])
        assert isinstance(outcome, Accepted)
        assert outcome.rejected == 1
        since_ns = others[0].event.time_ns
        entries = await_entries(loki, Selection({"namespace": "too-old"}), since_ns, at_least=len(others))
    assert [entry.time_ns for entry in entries] == [each.event.time_ns for each in others]
