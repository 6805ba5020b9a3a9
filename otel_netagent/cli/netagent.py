"""The `otel-netagent` command: runs the agent."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn

import click

from otel_netagent import __version__
from otel_netagent.agent.memory import give_back_freed_memory, search_less_for_garbage
from otel_netagent.cli.standard_error import queue_standard_error
from otel_netagent.open_files import raise_limit

_SWITCH_S: Final = 0.0005
"""How long a thread may compute while others wait; a scrape waits several times. A tenth of Python's default."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otel-netagent")
def main() -> None:
    """Find intermittent container-network faults on this node."""


_PLACES = """\b
Without -c, the first of these files that exists is read, or defaults apply:
  /etc/otel-netagent/config.yaml
  /etc/config/config.yaml
  /etc/inspector-config/config.yaml
  /etc/kubeskoop-config/config.yaml
"""


@main.command(epilog=_PLACES)
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, readable=False),  # the agent itself reports a file that cannot be read
    metavar="FILE",
    help="Read the configuration from this file, and from no other place.",
)
def run(file: Path | None) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    Metrics are served on port 9102, events on 19102 and as lines on standard error; OTLP goes where
    OTEL_EXPORTER_OTLP_ENDPOINT says, if it is set. A changed configuration is loaded within seconds; SIGHUP loads
    it at once.
    """
    give_back_freed_memory()
    raise_limit()
    sys.setswitchinterval(_SWITCH_S)
    # First of all: the imports below take as long as the start of the agent.
    stopping, asked = threading.Event(), threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda _number, _frame: stopping.set())
    signal.signal(signal.SIGHUP, lambda _number, _frame: asked.set())
    standard_error = queue_standard_error()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from otel_netagent.agent.requirements import limits_of_sight, missing_capabilities  # noqa: PLC0415

    if reason := missing_capabilities():
        _fail(reason)
    for limit in limits_of_sight():
        logging.warning(limit)
    from otel_netagent.agent.following import Follower  # noqa: PLC0415
    from otel_netagent.agent.reload import REFUSALS  # noqa: PLC0415
    from otel_netagent.config.reading import ConfigError  # noqa: PLC0415

    if stopping.is_set():
        return
    failed = _end_with_any_thread(stopping)
    try:
        running = Follower(file, os.environ, standard_error)
    except (ConfigError, *REFUSALS) as error:
        _fail(str(error))
    search_less_for_garbage()
    with contextlib.closing(running):
        running.follow(stopping, asked)
    if failed.is_set():
        sys.exit(1)


def _end_with_any_thread(stopping: threading.Event) -> threading.Event:
    """Make an unexpected error in any thread end the agent, so that it is restarted instead of running without a part.

    The returned event is set when that has happened.
    """
    failed = threading.Event()

    def end(failure: threading.ExceptHookArgs) -> None:
        thread = failure.thread.name if failure.thread else "a thread"
        _log_internal_error(thread, failure.exc_value, failure.exc_traceback)
        failed.set()
        stopping.set()

    threading.excepthook = end
    sys.excepthook = lambda _kind, error, at: _log_internal_error("the main thread", error, at)
    return failed


def _log_internal_error(thread: str, error: BaseException | None, at: TracebackType | None) -> None:
    what = "".join(traceback.format_exception_only(error)).strip()
    place = traceback.extract_tb(at)[-1]
    logging.critical("internal error in %s: %s (%s:%s); exiting", thread, what, place.filename, place.lineno)


def _fail(text: str) -> NoReturn:
    for line in text.splitlines():
        click.echo(f"otel-netagent: {line}", err=True)
    sys.exit(1)
