"""`inspector list`: the probes and the entities of an agent."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_netagent.cli.inspector.address import Address, agent_option
from otel_netagent.cli.inspector.status_page import read_status
from otel_netagent.identity.entity import Entity, EntityKind
from otel_netagent.identity.kubernetes.watch_condition import WatchState
from otel_netagent.model.probe_status import ProbeState, ProbeStatus
from otel_netagent.outputs.http.status import AgentStatus
from otel_netagent.printable import printable

_DEFAULT_PORT = 9102
_SHORT_ID = 12
"""Digits of a container id that are shown, as in Docker and crictl."""

_UNBOUNDED = 1_000_000
_FOLDED = {"WATCHES", "REASON", "POD", "NAMESPACE"}
"""Columns that are folded if the terminal is too narrow."""


_STYLES = {
    ProbeState.RUNNING: "green",
    ProbeState.DEGRADED: "yellow",
    ProbeState.UNAVAILABLE: "red",
    ProbeState.OFF: "dim",
}

_LIST_EXAMPLES = """\b
Examples:
  inspector list probe                        this node's probes: state, and how each is attached
  inspector list probe -e 10.1.16.255 -v      another node's, with what its kernel rejected
  inspector list entity                       pods, containers and other network namespaces
  inspector list entity -o json               the same as JSON, with full container ids
"""

_PROBE_EXAMPLES = """\b
States:
  running        every hook is attached
  degraded       a hook is not attached: its data is missing
  unavailable    the probe does not work on this kernel; see the reason
  off            not selected in the configuration

\b
Examples:
  inspector list probe
  inspector list probe -e 10.1.16.255:9102 -v
  inspector list probe -o json
"""

_ENTITY_EXAMPLES = """\b
Examples:
  inspector list entity
  inspector list entity -e 10.1.16.255
  inspector list entity -o json
"""

_endpoint = agent_option(purpose="The agent to ask.", port=_DEFAULT_PORT)
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group("list", epilog=_LIST_EXAMPLES)
def list_() -> None:
    """Show the probes of an agent, or the owners of the network namespaces."""


@list_.command(epilog=_PROBE_EXAMPLES)
@_endpoint
@_output
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also show each attach method that the kernel rejected and why, and what each probe needs and costs.",
)
def probe(endpoint: Address, output: str, verbose: bool) -> None:
    """Show the probes: state, attach methods, reasons.

    A row is one thing that a probe watches, with its attach method on this kernel: a tracepoint (raw_tp, tp_btf), a
    function (fentry, fexit, kprobe, kretprobe), an iterator (iter), procfs or rtnetlink.
    """
    status = read_status(endpoint)
    if output == "json":
        _print_json(status, "probes")
        return
    click.echo(f"{status.node}: otel-netagent {status.version}, kernel {status.kernel}, BTF {status.btf or 'none'}")
    table = _table("PROBE", "STATE", "WATCHES", "ATTACHED BY", "REASON")
    for each in status.probes:
        state = Text(each.state.value, _STYLES[each.state])
        for cells in _hook_rows(each, verbose):
            table.add_row(_cell(each.name), state, *map(_cell, cells))
    _print_table(table)


@list_.command(epilog=_ENTITY_EXAMPLES)
@_endpoint
@_output
def entity(endpoint: Address, output: str) -> None:
    """Show the owner of each network namespace of the node.

    NETNS is the inode number of the network namespace, as in `lsns -t net`. If the owner is not a pod of Kubernetes,
    NAMESPACE says what POD names. AGE is the age of the oldest process.
    """
    status = read_status(endpoint)
    if output == "json":
        _print_json(status, "entities")
        return
    if status.kubernetes.state is WatchState.FAILING:
        click.echo(f"pod names may be out of date: {printable(status.kubernetes.reason)}", err=True)
    table = _table("NETNS", "KIND", "POD", "NAMESPACE", "CONTAINER", "AGE")
    now_ns = time.time_ns()
    for each in sorted(status.entities.values(), key=_host_first):
        container = each.container_id[:_SHORT_ID] or "-"
        cells = (
            str(each.netns),
            each.kind.value,
            each.pod,
            each.namespace,
            container,
            age_text(now_ns - each.start_ns),
        )
        table.add_row(*map(_cell, cells))
    _print_table(table)


def age_text(nanoseconds: int) -> str:
    """An age in its two largest units: `3d4h`, `4h12m`, `12m5s`, `5s`. Below 0 (two clocks): `0s`."""
    seconds = max(nanoseconds, 0) // 1_000_000_000
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // smaller_size}{smaller}"
    return f"{seconds}s"


def _hook_rows(status: ProbeStatus, verbose: bool) -> Iterator[tuple[str, str, str]]:
    """What is watched, its attach method, and the reason; rejected methods if none is left, or with `verbose`.

    With `verbose` also what the probe needs and costs, as it declares it.
    """
    if not status.hooks:
        yield "-", "-", status.reason
    for position, hook in enumerate(status.hooks):
        yield hook.purpose, hook.way or "-", status.reason if position == 0 else ""
        if verbose or hook.way is None:
            for refusal in hook.refused:
                yield "", "", f"rejected {refusal.way}: {refusal.reason}"
    if verbose and status.cost:
        yield "", "", f"needs {', '.join(status.capabilities) or 'no capability of its own'}; cost: {status.cost}"


def _host_first(entity: Entity) -> tuple[bool, str, str]:
    return entity.kind is not EntityKind.HOST, entity.namespace, entity.pod


def _print_json(status: AgentStatus, part: str) -> None:
    click.echo(json.dumps(json.loads(status.to_json())[part], indent=2))


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header not in _FOLDED)
    return table


def _cell(text: str) -> Text:
    return Text(printable(" ".join(text.split())))


def _print_table(table: Table) -> None:
    """On a terminal, rows are folded to its width; in a pipe, each row is one line of any length."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    text = io.StringIO()
    Console(file=text, width=_UNBOUNDED, color_system=None).print(table)
    for line in text.getvalue().splitlines():
        click.echo(line.rstrip())
