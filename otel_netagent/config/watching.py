"""Seeing that the file has changed.

It is read again and again and compared by its content, which costs some 15 microseconds a look and is right everywhere:
a ConfigMap's mount that swaps a symlink two directories above, a file that is renamed over another or written in place
(twice within a tick of its time stamp, with the same size), one that comes into being, a file system without inotify.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from otel_netagent.config.reading import DEFAULT_PLACES, Content, read

LOOK_EVERY_S: Final = 0.5
"""A change is seen after one to two of these."""


class Watch:
    """The file that was named, or the first that there is; `content` is what was last found, be it of use or not."""

    def __init__(self, path: Path | None = None, places: Sequence[Path] = DEFAULT_PLACES) -> None:
        """Read it for the first time."""
        self._path = path
        self._places = places
        self.content = self._last = read(path, places)
        # What comes out of a pipe cannot be read twice.
        self._changes = path is None or path.is_file() or not path.exists()

    def look(self) -> Content | None:
        """The content, when it is another than before: once, and only when two looks have found it so.

        Whoever writes a file in place begins by making it empty, and an empty file means the defaults.
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
        """The content as it is at this moment, be it new or not."""
        if self._changes:
            self.content = self._last = read(self._path, self._places)
        return self.content
