"""A program that serves, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError

START_S = 120.0
"""Loki takes 16 s on an idle machine. What cannot start mostly ends, and need not be waited for."""
END_S = 20.0

_ANSWER_S = 5.0
_PAUSE_S = 0.05


class ServiceError(Exception):
    """Why a program does not serve, in one line and the last ones that it wrote."""


class Service:
    """A program from `start`, which returns when it serves, to `stop`. It may be started again.

    It writes into a file, and is in a session of its own: Ctrl-C at the terminal reaches only who started it, so that
    all can be ended in good order.
    """

    def __init__(self, name: str, argv: Sequence[str], environ: Mapping[str, str], log: Path, ready_url: str) -> None:
        """Describe it: `ready_url` answers 200 as soon as it serves; `environ` comes on top of this process's own."""
        self.name = name
        self.log = log
        self._argv = argv
        self._environ = environ
        self._ready_url = ready_url
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    def start(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Raises ServiceError if it ends, or does not serve in time; and what `pause` raises, which else waits."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - programs that were built or installed for this
                self._argv,
                env={**os.environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_ready(self._process, pause)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it by SIGTERM, and by SIGKILL where that takes too long. Does nothing where it is not running."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def has_ended(self) -> bool:
        """Whether it has ended of itself."""
        return self._process is not None and self._process.poll() is not None

    def last_lines(self, count: int = 5) -> str:
        """What it wrote last."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def _await_ready(self, process: subprocess.Popen[bytes], pause: Callable[[float], object]) -> None:
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if process.poll() is not None:
                raise ServiceError(f"{self.name} ended with {process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} does not serve after {START_S:.0f} s:\n{self.last_lines()}")
            pause(_PAUSE_S)

    def _is_ready(self) -> bool:
        with urllib3.PoolManager(retries=False) as pool:  # which heeds no variable that names a proxy
            try:
                return pool.request("GET", self._ready_url, timeout=_ANSWER_S).status == HTTPStatus.OK
            except HTTPError:
                return False
