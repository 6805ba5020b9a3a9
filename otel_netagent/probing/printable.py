"""Names that the kernel gives as bytes: of commands, of interfaces."""

from __future__ import annotations


def printable_name(name: bytes) -> str:
    """The name up to its first zero, as one line of printable text: programs may set such names to any bytes."""
    text = name.partition(b"\0")[0].decode(errors="replace")
    return "".join(character if character.isprintable() else "?" for character in text)
