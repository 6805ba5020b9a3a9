"""A program that a module under the AGPL was linked into is refused as soon as it is built."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.integration.commands import run
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
    """A `go` that says this of every program, and has its modules below `tmp_path`; what it installs is a builder."""
    command = tmp_path / "go"
    command.write_text(f"""#!/bin/sh
case $1 in
env) echo {shlex.quote(str(tmp_path))} ;;
version) printf %s {shlex.quote(_BUILD_INFO)} ;;
install)
    printf '#!/bin/sh\\n: >build/otelcol-netagent/otelcol-netagent\\n' >"$GOBIN/builder"
    chmod +x "$GOBIN/builder" ;;
esac
""")
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


def test_refused_program_is_not_kept(go: Go, tmp_path: Path) -> None:
    _module(tmp_path, "fork@v1.0.1", "LICENSE", _AGPL)
    cache = tmp_path / "cache"
    environ = {"PATH": f"{go.command.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache)}
    done = run([sys.executable, "-m", "tools.stack", "build"], environ)
    assert done.returncode == 1
    assert done.stderr == "otel-netagent: otelcol-netagent has modules under the AGPL in it: example.org/fork@v1.0.1\n"
    assert not [each for each in cache.rglob("*") if each.is_file()]


def test_others_may_speak_of_it(go: Go, tmp_path: Path) -> None:
    _module(tmp_path, "!plain@v1.2.0", "LICENSE", _MPL)
    refuse_agpl(go, tmp_path / "program")
