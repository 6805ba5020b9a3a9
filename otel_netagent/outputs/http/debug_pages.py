"""Stacks of the agent's threads, and a profile of some seconds. Served when `debugmode` is true."""

from __future__ import annotations

import re
import sys
import threading
import time
import traceback
from collections import Counter
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from types import FrameType
from typing import Final
from urllib.parse import parse_qs, urlsplit

_SAMPLE_EVERY_S: Final = 0.01
_MOST_SECONDS: Final = 60
_PATHS: Final = "/debug/stacks and /debug/profile?seconds=N (1 to 60, default 5)"


class DebugPages:
    """Answers `/debug/...` to clients on this machine only: stacks show what an attacker would like to know."""

    def __init__(self) -> None:
        """One profile is taken at a time."""
        self._profiling = threading.Lock()

    def answer(self, target: str, peer: str) -> tuple[HTTPStatus, str]:
        """HTTP status and text for a request target (path and query) from the address `peer`."""
        if not _is_this_machine(peer):
            return HTTPStatus.FORBIDDEN, (
                "debug pages answer clients on this machine only: use 127.0.0.1, or `kubectl port-forward`\n"
            )
        url = urlsplit(target)
        match url.path:
            case "/debug/stacks":
                return HTTPStatus.OK, stacks()
            case "/debug/profile":
                return self._profile(parse_qs(url.query).get("seconds", ["5"])[-1])
        return HTTPStatus.NOT_FOUND, f"unknown path; there are {_PATHS}\n"

    def _profile(self, seconds: str) -> tuple[HTTPStatus, str]:
        if not (re.fullmatch("[1-9][0-9]?", seconds) and int(seconds) <= _MOST_SECONDS):
            return HTTPStatus.BAD_REQUEST, f"seconds: not a whole number from 1 to {_MOST_SECONDS}\n"
        if not self._profiling.acquire(blocking=False):
            return HTTPStatus.CONFLICT, "another profile is being taken; ask again when it is done\n"
        try:
            return HTTPStatus.OK, profile(int(seconds))
        finally:
            self._profiling.release()


def stacks() -> str:
    """The stack of every thread, innermost call last, as Python prints it, under its name and number (`top -H`)."""
    frames = sys._current_frames()
    return "\n".join(
        f"{thread.name}, {thread.native_id}\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in threading.enumerate()
        if thread.ident in frames
    )


def profile(seconds: float) -> str:
    """Stacks of every other thread, sampled a hundred times a second: how often each was seen.

    The lines are of the folded form that flame graphs are made of: `thread;outermost;...;innermost count`. A thread
    that waits counts too.
    """
    counts: Counter[str] = Counter()
    own = threading.get_ident()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own and ident in names:
                counts[f"{names[ident]};{_folded(frame)}"] += 1
        time.sleep(_SAMPLE_EVERY_S)
    return "".join(f"{stack} {count}\n" for stack, count in counts.most_common())


def _folded(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None:
        names.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return ";".join(reversed(names))


def _is_this_machine(peer: str) -> bool:
    address = ip_address(peer)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
