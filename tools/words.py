"""Finds words that this project does not use, and says what to write instead: part of `make lint`.

They are words for things that have a name in the field already. Whole files are read, so names in the code are checked
together with messages, docstrings and comments. Case does not matter, and an underscore ends a word.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

INSTEAD: Final = {
    "tells?|told|telling|untold": "emit (an event), report (to a person), log (a line), show, distinguish, configure",
    "lets? go|letting go|let_go": "drop, close",
    "(?:does|do|did) not take": "reject, be unavailable",
    "takes? (?:it|them|things)(?: again)?": "accept, be available again",
    "ways? of attaching|attach ways?": "attach method, hook",
    "parcels?": "request, batch",
    "parted": "split, separated",
    "journals?": "outage log",
    "tally|tallies": "delivery statistics",
    "vitals": "agent state",
    "hops": "timestamps along the receive path",
    "harmless": "expected",
    "on(?: |_|-)demand": "opt-in",
    "by (?:gRPC|HTTP|OTLP)": "over gRPC, via OTLP",
    "dear(?:er|est)?": "expensive",
    "admit(?:s|ted)?": "support, allow",
    "anew": "again",
    "(?:is|are|was|were) held to": "is kept",
    "class _?(?:Account|Causes|Finding|Known|Mirror|Names|Notice|Sought|Turns|Until|Wanted)": "a noun that says what",
}
"""What to write instead of each word; the words are regular expressions."""

ALLOWED: Final = {
    ("otel_netagent/config/schema.py", "harmless"): "the former name of a configuration key, which files may use",
    ("docs/configuration.md", "harmless"): "the former name of a configuration key, which files may use",
    ("lab/drops_routing.py", "hops"): "the hops of an IP packet",
    ("tools/words.py", ""): "the table of the words itself",
}
"""Why a word may stand in a file, by file and word; the empty word means any word."""

CHECKED: Final = ("Makefile", "README.md", "bpf", "collector-config", "docs", "lab", "otel_netagent", "tools")

_SPACE: Final = r"[\s#*/]+"  # also across a line break, within a comment

_WORDS: Final = {
    word: re.compile(rf"(?<![A-Za-z])(?:{word.replace(' ', _SPACE)})(?![A-Za-z])", re.IGNORECASE) for word in INSTEAD
}


class Use(NamedTuple):
    """A word that should not be used, and where it stands."""

    file: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        """A line of the report, which editors can jump to."""
        return f"{self.file}:{self.line}: {self.found!r}: write {self.instead}"


def uses_in(file: str, text: str) -> Iterator[Use]:
    """The words in a text that should not be used, but for those that are allowed in this file."""
    for word, pattern in _WORDS.items():
        for match in pattern.finditer(text):
            if not _is_allowed(file, match[0]):
                yield Use(file, text.count("\n", 0, match.start()) + 1, match[0], INSTEAD[word])


def checked_files(root: Path) -> Iterator[str]:
    """The paths of the files that git knows and that are checked."""
    command = ["git", "ls-files", "-z", "--", *CHECKED]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout  # noqa: S603
    yield from filter(None, listed.split("\0"))


def main() -> None:
    """Print every use; exit with 1 if there is one."""
    root = Path(__file__).parent.parent
    found = sorted(use for file in checked_files(root) for use in uses_in(file, _text(root / file)))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


def _is_allowed(file: str, found: str) -> bool:
    return (file, "") in ALLOWED or (file, found.lower()) in ALLOWED


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


if __name__ == "__main__":
    main()
