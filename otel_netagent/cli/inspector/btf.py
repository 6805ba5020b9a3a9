"""`inspector btf`: finds this kernel's type information and tests it."""

from __future__ import annotations

from pathlib import Path

import click

from otel_netagent.kernel.bpf import btf as kernel_btf
from otel_netagent.kernel.bpf import btf_trial
from otel_netagent.kernel.bpf.btf_source import BtfNotFound
from otel_netagent.kernel.bpf.libbpf import LibbpfMissing
from otel_netagent.kernel.facts import find_types
from otel_netagent.pipeline.kernel_access import OBJECTS

_EXAMPLES = """\b
Examples:
  inspector btf
  inspector btf --dir /opt/btf
  inspector btf --headers
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory to search after the kernel's own BTF.",
)
@click.option(
    "--headers",
    is_flag=True,
    help="If there is none, make it from the kernel's headers, as the agent does with enable_legacy_version.",
)
def btf(directory: Path | None, *, headers: bool) -> None:
    """Find the BTF of this kernel, which eBPF programs need, and test it.

    The path of the file goes to standard output, the result of the test to standard error. If none is found, or it
    does not work, the exit code is 1: then the probes that need BTF are unavailable, the others work.
    """
    try:
        source = find_types(directory, legacy=headers)
        click.echo(source.path)
        types = kernel_btf.Btf.load(source)
        if not source.in_kernel:
            btf_trial.confirm(source.path, types, OBJECTS)
    except (BtfNotFound, kernel_btf.BtfInvalid, LibbpfMissing) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"the BTF works: {len(types.names(kernel_btf.STRUCT))} structures", err=True)
    if not source.in_kernel:
        click.echo("the kernel has no BTF of its own (CONFIG_DEBUG_INFO_BTF): eBPF iterators are unavailable", err=True)
