"""The Go toolchain, as far as it takes to build programs from their modules."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TOOLCHAIN = "go1.26.5"
"""What the newest of the programs asks for in its go.mod."""

_FETCHES_TOOLCHAINS = (1, 21)
"""The first Go that fetches by itself the newer one that a module asks for (go.dev/doc/toolchain)."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class BuildError(Exception):
    """What could not be built or had, in one line."""


class NoToolchain(BuildError):
    """There is no Go on this machine."""


@dataclass(frozen=True, slots=True)
class Go:
    """A `go` command, and the environment in which it builds static programs that name no directory of this machine."""

    command: Path
    environ: Mapping[str, str]

    @classmethod
    def find(cls, directory: Path) -> Self:
        """The one in PATH; where that is too old to fetch a newer one by itself, the newer one, put into `directory`.

        Raises NoToolchain where there is none at all.
        """
        found = shutil.which("go")
        if found is None:
            raise NoToolchain("no Go toolchain: install one, as with apt-get install golang-go")
        ours = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOWORK": "off", "GOFLAGS": "-trimpath -buildvcs=false -p=2"}
        go = cls(Path(found), os.environ | ours)
        if go.version() >= _FETCHES_TOOLCHAINS:
            return go
        root = go._unpacked_toolchain(directory)
        return cls(root / "bin" / "go", {**go.environ, "GOROOT": str(root)})

    def version(self) -> tuple[int, int]:
        """Major and minor, of this command itself."""
        text = self.run("version", cwd=Path("/"), GOTOOLCHAIN="local")
        numbers = re.search(r"\bgo(\d+)\.(\d+)", text)
        if numbers is None:
            raise BuildError(f"{self.command} does not say its version: {text.strip()}")
        return int(numbers[1]), int(numbers[2])

    def module(self, path: str, version: str, cwd: Path) -> Path:
        """The directory into which a module was downloaded. Its files are read-only."""
        said = json.loads(self.run("mod", "download", "-json", f"{path}@{version}", cwd=cwd))
        return Path(said["Dir"])

    def run(self, *arguments: str, cwd: Path, **environ: str) -> str:
        """Standard output of `go`. Raises BuildError with its last lines if it fails."""
        return run([str(self.command), *arguments], cwd, {**self.environ, **environ})

    def _unpacked_toolchain(self, directory: Path) -> Path:
        """An old `go` takes the toolchain for a module like others: what a newer one does with it is done here.

        A module holds neither files that may be executed nor a go.mod below its root, which is there as _go.mod
        (cmd/go/internal/toolchain).
        """
        root = directory / _TOOLCHAIN
        if not root.exists():
            arch = _MACHINES.get(platform.machine(), platform.machine())
            said = self.module("golang.org/toolchain", f"v0.0.1-{_TOOLCHAIN}.linux-{arch}", directory)
            unpacked = directory / f"{_TOOLCHAIN}.part"
            shutil.rmtree(unpacked, ignore_errors=True)
            shutil.copytree(said, unpacked, copy_function=shutil.copyfile)
            for each in (unpacked, *unpacked.rglob("*")):
                each.chmod(0o755)
            for module in unpacked.rglob("_go.mod"):
                module.rename(module.with_name("go.mod"))
            unpacked.rename(root)
        return root


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> str:
    """Standard output of a program. Raises BuildError with what it said last if it fails."""
    done = subprocess.run(  # noqa: S603 - all arguments are written in this package
        argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise BuildError(f"{' '.join(argv[:3])} failed: {' / '.join(said)}")
    return done.stdout
