"""The generated pages are those of the declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.reference import pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_is_what_the_declarations_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "the page is stale: run `make docs`"
