"""The `inspector` command: look at running agents from a terminal."""

from __future__ import annotations

import click

from otel_netagent import __version__
from otel_netagent.cli.inspector.btf import btf
from otel_netagent.cli.inspector.listing import list_
from otel_netagent.cli.inspector.watch import watch

__all__ = ["main"]

_EXAMPLES = """\b
Examples:
  inspector watch                        events of this node, as they happen
  inspector watch -e 10.1.16.255 -v      those of another node, one JSON object per line
  inspector list probe                   what this node's agent watches, and how
  inspector list entity                  the pods and other network namespaces of this node
  inspector btf                          the type information that eBPF programs need
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EXAMPLES)
@click.version_option(__version__, prog_name="inspector")
def main() -> None:
    """Look at running otel-netagent agents: their events, probes and pods."""


main.add_command(watch)
main.add_command(list_)
main.add_command(btf)
