"""A program that a module under the AGPL was linked into is refused as soon as it is built."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tools.stack.golang import BuildError, Go
from tools.stack.licences import refuse_agpl

pytestmark = pytest.mark.integration

_BUILD_INFO = """\
/build/program: go1.26.5
\tpath\tcommand-line-arguments
\tdep\texample.org/Plain\tv1.2.0\th1:w1=
\tdep\texample.org/replaced\tv1.0.0
\t=>\texample.org/fork\tv1.0.1\th1:w2=
\tbuild\t-compiler=gc
"""
_AGPL = "                    GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007\n"
_MPL = (
    "Mozilla Public License, version 2.0\n"
    + 40 * "1.12. Secondary\n"
    + "the GNU AFFERO GENERAL PUBLIC LICENSE, Version 3.0"
)


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """A `go` that says this of every program, and has its modules below `tmp_path`."""
    said = {"env": str(tmp_path), "version": _BUILD_INFO}
    cases = "".join(f"{name}) printf %s {shlex.quote(text)};;\n" for name, text in said.items())
    command = tmp_path / "go"
    command.write_text(f"#!/bin/sh\ncase $1 in\n{cases}esac\n")
    command.chmod(0o755)
    return Go(command, {})


def _module(cache: Path, name: str, licence: str, text: str) -> None:
    directory = cache / "example.org" / name
    directory.mkdir(parents=True)
    (directory / licence).write_text(text)


@pytest.mark.parametrize(("name", "said"), [("!plain@v1.2.0", "Plain@v1.2.0"), ("fork@v1.0.1", "fork@v1.0.1")])
@pytest.mark.parametrize("licence", ["LICENSE", "LICENCE.md", "COPYING"])
def test_module_under_the_agpl_is_refused_by_name(go: Go, tmp_path: Path, name: str, said: str, licence: str) -> None:
    _module(tmp_path, name, licence, _AGPL)
    with pytest.raises(BuildError, match=rf"^program has modules under the AGPL in it: example\.org/{said}$"):
        refuse_agpl(go, tmp_path / "program")


def test_others_may_speak_of_it(go: Go, tmp_path: Path) -> None:
    _module(tmp_path, "!plain@v1.2.0", "LICENSE", _MPL)
    refuse_agpl(go, tmp_path / "program")
