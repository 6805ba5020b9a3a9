"""The advice for an unknown name: the most similar known name, and all allowed names."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def similar(name: str, known: Collection[str]) -> str:
    """A question with the most similar name, ignoring case; empty if none is similar."""
    spelled = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), spelled, n=1)
    return f"did you mean {spelled[found[0]]}?" if found else ""


def advice(name: str, known: Collection[str]) -> str:
    """The most similar name, and all allowed names."""
    return " ".join(filter(None, (similar(name, known), f"allowed here: {', '.join(sorted(known)) or 'none'}")))
