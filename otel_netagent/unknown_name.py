"""What to say of a name that is not known: which one may have been meant, and which there are."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def similar(name: str, known: Collection[str]) -> str:
    """The question whether the most similar name is meant, in whichever case; nothing where none is like it."""
    spelled = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), spelled, n=1)
    return f"did you mean {spelled[found[0]]}?" if found else ""


def advice(name: str, known: Collection[str]) -> str:
    """The most similar name, and all that there are."""
    return " ".join(filter(None, (similar(name, known), f"allowed here: {', '.join(sorted(known)) or 'none'}")))
