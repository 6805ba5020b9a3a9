"""Plays the commands of a page where they find what a fresh node has: ports that are free, no names of `ip netns`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from tools.console import Step, missing

ROOT: Final = Path(__file__).parent.parent
STARTS_THE_AGENT: Final = "make run"
_COMMANDS: Final = Path(sys.executable).parent
_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.2
_END_OF_COMMAND: Final = "\x1e"

_NODE: Final = """
set -m
mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up
"""
"""Root's, in network and mount namespaces of its own: names of `ip netns` are files in /run/netns (ip-netns(8))."""


class Mismatch(Exception):
    """Something else is printed than the page shows. The text is what is missing, and what is there."""


class Session:
    """A terminal, and another one where the agent runs."""

    def __init__(self, shell: subprocess.Popen[str], log: Path) -> None:
        """`log` is what the agent has written."""
        self._shell, self._log = shell, log

    def play(self, step: Step) -> list[str]:
        """Have the step done; the lines that it printed. Raises Mismatch.

        What is not there yet is looked at, or asked for, again: numbers come with the next collection.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            printed = self._printed(step.command)
            line = missing(step.shown, printed)
            if line is None:
                return printed
            if time.monotonic() > deadline:
                raise Mismatch("\n".join([f"{step.command}: missing:", line, "printed at last:", *printed[-20:]]))
            time.sleep(_PAUSE_S)

    def _printed(self, command: str | None) -> list[str]:
        if command in {None, STARTS_THE_AGENT}:
            return self._log.read_text("utf-8", errors="replace").splitlines()
        return self.run(here(command))

    def run(self, command: str) -> list[str]:
        """The lines that a command prints."""
        stdin, stdout = _pipes(self._shell)
        stdin.write(f"{{ {command}\n}} </dev/null 2>&1; printf '{_END_OF_COMMAND}\\n'\n")
        stdin.flush()
        lines = []
        for line in stdout:
            text, ended, _ = line.rstrip("\n").partition(_END_OF_COMMAND)
            if text or not ended:
                lines.append(text)
            if ended:
                return lines
        raise Mismatch(f"{command}: the shell has ended")


@contextlib.contextmanager
def agent_running(environ: Mapping[str, str]) -> Iterator[Session]:
    """A node with the agent as `make run` starts it, and with these variables besides. Needs root."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "agent"
        log.touch()
        shell = subprocess.Popen(
            ["unshare", "--net", "--mount", "bash"],  # noqa: S607
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "80", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        session = Session(shell, log)
        try:
            session.run(_NODE)
            session.run(f"( {here(_start())} ) >{log} 2>&1 & disown")
            yield session
        finally:
            _end(shell)


def here(command: str) -> str:
    """The command, with the installed programs of this Python in the place of those of a clone."""
    return re.sub(r"\.venv/bin/(?=[\w-]+ )", f"{_COMMANDS}/", command)


def _start() -> str:
    """What `make run` does when everything is installed: the last two lines of what it would do."""
    make = ["make", "--dry-run", "--no-print-directory", *STARTS_THE_AGENT.split()[1:]]
    would = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return "\n".join(would.strip().splitlines()[-2:])


def _pipes(shell: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if shell.stdin is None or shell.stdout is None:
        raise Mismatch("the shell has no pipes")
    return shell.stdin, shell.stdout


def _end(shell: subprocess.Popen[str]) -> None:
    """End all that was started in the session of the shell."""
    session = shell.pid
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == session:
                os.kill(int(entry.name), signal.SIGKILL)
    shell.wait()
    for pipe in _pipes(shell):
        pipe.close()
