"""What each thread of a running agent has taken."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.agent.running import Agent

_THREAD: Final = re.compile(r"^(\S.*), (\d+)$", re.MULTILINE)


def cpu_seconds(agent: Agent) -> Mapping[str, float]:
    """CPU time so far by thread (the first number of schedstat, in nanoseconds); of gRPC's own, together.

    For an agent with `debugmode`, whose debug pages tell which thread is which.
    """
    names = {number: name for name, number in _THREAD.findall(agent.get("/debug/stacks")[1].decode())}
    spent: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{agent.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds = int((task / "schedstat").read_text(encoding="ascii").split()[0])
            spent[names.get(task.name, "threads of gRPC")] += nanoseconds / 1e9
    return spent
