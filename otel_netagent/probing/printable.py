"""Names that the kernel reports as bytes: of commands, of interfaces."""

from __future__ import annotations

from otel_netagent.printable import printable


def printable_name(name: bytes) -> str:
    """The name up to its first zero, as one line of printable text: programs may set such names to any bytes."""
    return printable(name.partition(b"\0")[0].decode(errors="replace"), lambda _: "?")
