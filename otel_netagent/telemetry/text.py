"""Events as lines of text, for standard error."""

from __future__ import annotations

from typing import TextIO

from otel_netagent.telemetry.event import AttributedEvent


class TextSink:
    """Writes each event's line to a stream, in one write, so that lines of several writers never mix.

    A stream that takes no more (its reader is gone, its disk is full) stops nothing: `lost` counts the
    lines that it did not take.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to this stream, which stays the caller's to close."""
        self._stream = stream
        self.lost = 0

    def write(self, event: AttributedEvent) -> None:
        """Write one line and flush it."""
        try:
            self._stream.write(one_line(event.line) + "\n")
            self._stream.flush()
        except OSError:
            self.lost += 1


def one_line(text: str) -> str:
    r"""The text with everything unprintable as an escape (`\n`, `\x1b`, `\udc80`).

    A process chooses its own command name: a line break in it must not forge a second event, nor an
    escape sequence reach the reader's terminal.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
