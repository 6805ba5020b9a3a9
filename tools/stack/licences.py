"""What a program must not be made of: this project takes no module under the AGPL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools.stack.golang import BuildError, Go

_FILES = re.compile("licen[cs]e|copying", re.IGNORECASE)
_TITLE = "GNU AFFERO GENERAL PUBLIC LICENSE"
_TITLE_WITHIN = 200
"""Characters from the beginning. Others speak of it further down, as the MPL does of licences that it goes with."""


def refuse_agpl(go: Go, program: Path) -> None:
    """Raises BuildError if a module that was linked into the program is under the AGPL."""
    cache = Path(go.run("env", "GOMODCACHE", cwd=program.parent).strip())
    linked = _modules(go.run("version", "-m", str(program), cwd=program.parent))
    if found := [module for module in linked if _is_agpl(cache / _escaped(module))]:
        raise BuildError(f"{program.name} has modules under the AGPL in it: {', '.join(found)}")


def _modules(build_info: str) -> Iterator[str]:
    """`path@version` of each that was downloaded; "=>" stands before what replaces the one of the line before."""
    for kind, path, version, *_ in (line.split() for line in build_info.splitlines() if line.count("\t") > 2):
        if kind in {"mod", "dep", "=>"}:
            yield f"{path}@{version}"


def _escaped(module: str) -> str:
    """The directory of a module in the cache (golang.org/ref/mod#module-cache)."""
    return re.sub("[A-Z]", lambda letter: f"!{letter[0].lower()}", module)


def _is_agpl(module: Path) -> bool:
    files = (each for each in module.glob("*") if _FILES.match(each.name) and each.is_file())
    return any(_TITLE in each.read_text(errors="replace")[:_TITLE_WITHIN] for each in files)
