"""The queries that the pages give."""

from __future__ import annotations

import re
from pathlib import Path

from tools.stack.log_store import LogStore

_PAGES = Path(__file__).parents[2] / "docs"


def documented_queries(page: str, store: LogStore) -> list[str]:
    """Those of a page for this store."""
    text = (_PAGES / page).read_text()
    (block,) = re.findall(rf"^\w+, for {store.name}:\n\n((?:    .+\n)+)", text, re.MULTILINE)
    return [line.strip() for line in block.splitlines()]
