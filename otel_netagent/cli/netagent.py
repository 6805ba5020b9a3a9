"""The `otel-netagent` command: runs the agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Final, NoReturn

import click

from otel_netagent import __version__

_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 19, 21, 38, 39
_NAMES: Final = {_CAP_SYS_PTRACE: "CAP_SYS_PTRACE", _CAP_PERFMON: "CAP_PERFMON", _CAP_BPF: "CAP_BPF"}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otel-netagent")
def main() -> None:
    """Find intermittent container-network faults on this node."""


@main.command()
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, readable=False),  # that it cannot be read is said in our own words
    metavar="FILE",
    help="Configuration; without it /etc/otel-netagent/config.yaml or /etc/config/config.yaml if there is one.",
)
def run(file: Path | None) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    Metrics are served on port 9102, events on 19102 and as lines on standard error; OTLP goes where
    OTEL_EXPORTER_OTLP_ENDPOINT says, if it is set.
    """
    # First of all, since what is imported below takes as long to load as the agent to start.
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda _number, _frame: stopping.set())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    _require_capabilities()
    # What gRPC has to say comes from our own delivery, in our own words. It reads this when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from otel_netagent import agent, config  # noqa: PLC0415
    from otel_netagent.telemetry.http_server import ListenError  # noqa: PLC0415
    from otel_netagent.telemetry.otlp.environment import OtlpConfigError  # noqa: PLC0415
    from otel_netagent.telemetry.stream.service import EventPortError  # noqa: PLC0415

    if stopping.is_set():
        return
    failed = _end_with_any_thread(stopping)
    try:
        running = agent.Agent(config.load(file), os.environ)
    except (config.ConfigError, ListenError, EventPortError, OtlpConfigError) as error:
        _fail(str(error))
    stopping.wait()
    running.close()
    if failed.is_set():
        sys.exit(1)


def _end_with_any_thread(stopping: threading.Event) -> threading.Event:
    """Let an error that nobody foresaw end the agent, to be started anew: a part that is dead must not go unnoticed.

    The event that is returned tells that it happened.
    """
    failed = threading.Event()

    def end(failure: threading.ExceptHookArgs) -> None:
        thread = failure.thread.name if failure.thread else "a thread"
        at = traceback.extract_tb(failure.exc_traceback)[-1]
        what = "".join(traceback.format_exception_only(failure.exc_type, failure.exc_value)).strip()
        logging.critical(
            "the agent ends, by an error of its own in %s: %s (%s:%s)", thread, what, at.filename, at.lineno
        )
        failed.set()
        stopping.set()

    threading.excepthook = end
    return failed


def _require_capabilities() -> None:
    """Stop where eBPF and the processes of others are out of reach: nothing would be seen."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16)
    if effective >> _CAP_SYS_ADMIN & 1:
        return
    missing = [name for number, name in _NAMES.items() if not effective >> number & 1]
    if missing:
        _fail(f"not permitted: {', '.join(missing)} missing; run it as root (sudo) or with these capabilities")


def _fail(text: str) -> NoReturn:
    for line in text.splitlines():
        click.echo(f"otel-netagent: {line}", err=True)
    sys.exit(1)
