"""Text that every output can encode."""

from __future__ import annotations


def well_formed(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD; any other text comes back unchanged.

    Names that the kernel gives as bytes (commands, interfaces) are decoded with `surrogateescape`, and
    neither UTF-8 nor a protobuf string can hold the surrogates that stand for invalid bytes.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
