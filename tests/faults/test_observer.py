"""The observer waits for what a fault is to tell, whatever else the machine tells meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lab.namespace import Namespace
from otel_netagent.model.event import Event
from tests.faults.observer import Observer
from tests.probes.test_packetloss import send_to_nobody

_LATER_S = 0.2


def test_events_of_something_else_are_not_waited_for(observer: Observer, netns: Namespace) -> None:
    send_to_nobody(netns)
    late: list[int] = []
    timer = threading.Timer(_LATER_S, lambda: late.append(send_to_nobody(netns)))
    timer.start()

    def has_the_late_one(events: Sequence[Event]) -> bool:
        return bool(late) and late[0] in {event.attributes.get("destination.port") for event in events}

    events, _ = observer.agreeing([netns.inode], has_the_late_one)
    timer.join()
    assert [event.type.name for event in events] == ["PACKETLOSS", "PACKETLOSS"]
