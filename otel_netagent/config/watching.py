"""Detecting that the file has changed.

It is read periodically and compared by content. That costs about 15 microseconds each time and is correct everywhere: a
ConfigMap's mount that swaps a symlink two directories above, a file that is renamed over another or written in place
(twice within a tick of its time stamp, with the same size), a file that is created, a file system without inotify.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from otel_netagent.config.reading import DEFAULT_PLACES, Content, read

LOOK_EVERY_S: Final = 0.5
"""A change is detected after one to two of these periods."""


class Watch:
    """Watches the named file, or the first that exists. `content` is the last content found, valid or not."""

    def __init__(self, path: Path | None = None, places: Sequence[Path] = DEFAULT_PLACES) -> None:
        """Read it for the first time."""
        self._path = path
        self._places = places
        self.content = self._last = read(path, places)
        # A pipe cannot be read twice.
        self._changes = path is None or path.is_file() or not path.exists()

    def look(self) -> Content | None:
        """New content, once, and only after two reads have found the same; else None.

        A program that writes a file in place first empties it, and an empty file means the defaults.
        """
        if not self._changes:
            return None
        content = read(self._path, self._places)
        settled = content == self._last
        self._last = content
        if not settled or content == self.content:
            return None
        self.content = content
        return content

    def look_now(self) -> Content:
        """The current content, new or not."""
        if self._changes:
            self.content = self._last = read(self._path, self._places)
        return self.content
