"""`inspector watch`: events as they happen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import click

from otel_netagent.cli.inspector.address import LOCAL_HOST, Address, agent_option
from otel_netagent.cli.inspector.event_name import EventNameType
from otel_netagent.cli.inspector.event_streams import Broken, EventStreams, Received
from otel_netagent.cli.inspector.lines import json_line, text_line
from otel_netagent.outputs.stream import inspector_pb2 as pb
from otel_netagent.outputs.stream.rpc import DEFAULT_PORT

_LOCAL = Address(LOCAL_HOST, DEFAULT_PORT)
_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports a program that Ctrl-C ended."""

_EXAMPLES = """\b
Examples:
  inspector watch                                      events of this node
  inspector watch -e 10.1.16.255                       those of another node
  inspector watch --type PACKETLOSS --pod web-0        dropped packets of one pod
  inspector watch --type tcpreset                      all events of one probe
  inspector watch --pod web-0 --pod web-1              those of either pod
  inspector watch -d -v                                one JSON object per line
  inspector watch -s 10.1.17.113 -s 10.1.18.14 -v      two nodes at once, to compare times

\b
A line shows the event, the pod that it happened to, and the connection:
   INFO  TCP_RCV_RST_ESTAB Namespace=a Pod=b Node=c Netns=4026531993 10.1.16.255:43186 -> 100.100.27.15:3128
"""


@click.command(epilog=_EXAMPLES)
@agent_option(
    "-s", "--source", "named", purpose="An agent to watch; may be repeated.", port=DEFAULT_PORT, multiple=True
)
@click.option("-d", "--direct", is_flag=True, help="This node's agent (127.0.0.1), besides those named.")
@click.option("-v", "--verbose", is_flag=True, help="One JSON object per line, with the event's time in the kernel.")
@click.option(
    "--type",
    "types",
    type=EventNameType(),
    metavar="T",
    multiple=True,
    help="Only events of this type (or alias), or of this probe; may be repeated.",
)
@click.option(
    "--pod",
    "pods",
    metavar="P",
    multiple=True,
    help="Only events of this pod; hostNetwork is the node itself; may be repeated.",
)
@click.option(
    "--namespace",
    "namespaces",
    metavar="N",
    multiple=True,
    help="Only events of pods in this namespace; may be repeated.",
)
def watch(  # noqa: PLR0913 - one argument for each option
    *,
    named: tuple[Address, ...],
    direct: bool,
    verbose: bool,
    types: tuple[str, ...],
    pods: tuple[str, ...],
    namespaces: tuple[str, ...],
) -> None:
    """Show network events as they happen, one per line.

    Stop it with Ctrl-C (exit code 130).

    Repeat an option to give alternatives: events that match any of them are shown.

    An arrow without a protocol before it is TCP. EVENTS_LOST marks missing events: this command, or the reader of its
    output, was too slow.

    An agent that restarts is watched again as soon as it is back; events in between are not shown. Events go to
    standard output, all other messages to standard error. If no agent can be reached at the start, the exit code is 1.
    """
    local = [_LOCAL] if direct or not named else []
    addresses = list(dict.fromkeys([*named, *local]))
    request = _request(types, pods, namespaces)
    try:
        _show(addresses, request, verbose)
    except KeyboardInterrupt:
        click.get_current_context().exit(_INTERRUPTED)


def _request(types: Sequence[str], pods: Sequence[str], namespaces: Sequence[str]) -> pb.WatchRequest:
    """The request to every agent; without alternatives it uses only fields that agents of any version support."""
    metas = [pb.Meta(pod=pod, namespace=namespace) for pod, namespace in product(pods or [""], namespaces or [""])]
    request = pb.WatchRequest(filter=metas[0], filters=metas[1:])
    if len(types) == 1:
        request.name = types[0]
    else:
        request.names.extend(types)
    return request


def _show(addresses: Sequence[Address], request: pb.WatchRequest, verbose: bool) -> None:
    reached: set[Address] = set()
    broken: set[Address] = set()
    with EventStreams(addresses, request) as news_of_all:
        for news in news_of_all:
            if isinstance(news, Broken):
                if news.source not in broken:
                    broken.add(news.source)
                    click.echo(_complaint(news, news.source in reached), err=True)
                if not reached and len(broken) == len(addresses):
                    raise click.exceptions.Exit(1)
                continue
            reached.add(news.source)
            if news.source in broken:
                broken.remove(news.source)
                click.echo(f"inspector: {news.source} is back", err=True)
            if isinstance(news, Received):
                click.echo(json_line(news.event, str(news.source)) if verbose else text_line(news.event))


def _complaint(broken: Broken, was_open: bool) -> str:
    if was_open:
        return f"inspector: lost {broken.source}: {broken.reason}; trying again until it is back"
    return (
        f"Error: cannot watch {broken.source}: {broken.reason}; is the agent running there, with "
        f"event_config.enable true and event_config.port {broken.source.port}?"
    )
