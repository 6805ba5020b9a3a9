"""Debian's kernels: the newest of a release, downloaded and unpacked outside the tree.

Nothing is installed: apt works with a configuration, lists and a cache of its own, and asks the mirror that this
machine's apt uses already. Versions change from week to week, so packages are found from the one name that stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vm import vmlinux

SUITES: Final = ("bullseye", "bookworm", "trixie", "sid")
"""Releases whose kernels are tried, oldest first: Linux 5.10, 6.1, 6.12, and the newest that Debian has."""

_NEWEST: Final = "linux-image-cloud-amd64"
"""Depends on the newest kernel of its release; the cloud flavour is half as large as the ordinary one."""

_WITHOUT_SECURITY: Final = frozenset({"sid"})
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ASK_AGAIN_AFTER_S: Final = 24 * 3600

_DEPENDENCIES_ONLY: Final = ("--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces")


class KernelUnobtainable(Exception):
    """A kernel cannot be downloaded or unpacked; the text says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel; `release` is what `uname -r` says in it."""

    suite: str
    release: str
    root: Path

    @property
    def image(self) -> Path:
        """What a boot loader loads."""
        return self.root / "vmlinuz"

    @property
    def vmlinux(self) -> Path:
        """What is in the image: an ELF file that has the kernel's BTF."""
        return self.root / "vmlinux"

    @property
    def modules(self) -> Path:
        """What belongs at `/lib/modules/RELEASE`."""
        return self.root / "lib" / "modules" / self.release


def obtain(suite: str) -> Kernel:
    """The newest kernel of a release; the mirror is asked once a day. Raises KernelUnobtainable."""
    home = _cache() / suite
    home.mkdir(parents=True, exist_ok=True)
    current = home / "current"
    with locked(home / "lock"):
        if not current.is_symlink() or time.time() - current.lstat().st_mtime > _ASK_AGAIN_AFTER_S:
            release = _fetch_newest(suite, home)
            current.unlink(missing_ok=True)
            current.symlink_to(release)
        kernel = Kernel(suite, current.readlink().name, current.resolve())
        if not kernel.vmlinux.exists():
            vmlinux.unpack(kernel.image, kernel.vmlinux)
        return kernel


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "otel-netagent" / "kernels"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, and none has to clean up after one that died."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_newest(suite: str, home: Path) -> str:
    """Unpack the newest kernel to `home`/RELEASE, unless it is there already; its release."""
    with tempfile.TemporaryDirectory(dir=home) as directory:
        work = Path(directory)
        apt = Apt(suite, work)
        apt.update()
        release, packages = apt.newest_kernel()
        if not (home / release).exists():
            apt.unpack(packages, work / "files")
            _arrange(release, work / "files", work / "kernel")
            (work / "kernel").rename(home / release)
    return release


class Apt:
    """apt with a configuration of its own in a directory of its own, for one release."""

    def __init__(self, suite: str, directory: Path) -> None:
        """Write the configuration."""
        self._downloads = directory / "downloads"
        self._configuration = directory / "apt.conf"
        for name in ("downloads", "state/lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "sources.list").write_text("".join(f"{line}\n" for line in _sources(suite)))
        # Read after the machine's own, whose proxies and the like hold here too. Its hooks do not: they are made
        # for its own lists and packages.
        self._configuration.write_text(f"""\
Dir::Etc::SourceList "{directory}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "{directory}/state";
Dir::State::status "/dev/null";
Dir::Cache "{directory}/cache";
APT::Sandbox::User "root";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
""")

    def update(self) -> None:
        """Ask the mirror for its lists. Raises KernelUnobtainable, as all that follows."""
        self._run("apt-get", "update", "--error-on=any")

    def newest_kernel(self) -> tuple[str, list[str]]:
        """Release of the newest kernel, and the packages that make it up: since 7.0 they are several."""
        found = re.search(r"Depends: linux-image-(\S+)", self._run("apt-cache", "depends", _NEWEST))
        if not found:
            raise KernelUnobtainable(f"{_NEWEST} depends on no kernel")
        release = found[1]
        closure = self._run("apt-cache", "depends", "--recurse", *_DEPENDENCIES_ONLY, f"linux-image-{release}")
        part = re.compile(rf"linux-\w+-{re.escape(release)}")
        return release, [package for package in closure.splitlines() if part.fullmatch(package)]

    def headers(self, release: str) -> list[str]:
        """The packages of a kernel's headers: those of its flavour, and those that all flavours have in common."""
        own = f"linux-headers-{release}"
        found = re.search(r"Depends: (linux-headers-\S+-common)", self._run("apt-cache", "depends", own))
        if not found:
            raise KernelUnobtainable(f"{own} depends on no common headers")
        return [own, found[1]]

    def unpack(self, packages: list[str], target: Path) -> None:
        """Download packages, and put their files below `target`."""
        self._run("apt-get", "download", *packages)
        for package in self._downloads.glob("*.deb"):
            _run("dpkg", "-x", str(package), str(target))

    def _run(self, command: str, *arguments: str) -> str:
        return _run(command, "-q", "-c", str(self._configuration), *arguments, directory=self._downloads)


def _sources(suite: str) -> Iterator[str]:
    """Lines of a sources.list: the release on the mirror that this machine uses, and its security updates."""
    listing = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Origin: Debian")
    mirrors = {label: uri for uri, _, label in (line.partition(" ") for line in listing.splitlines())}
    wanted = {"Debian": suite}
    if suite not in _WITHOUT_SECURITY:
        wanted["Debian-Security"] = f"{suite}-security"
    for label, name in wanted.items():
        if label not in mirrors:
            raise KernelUnobtainable(
                f"apt knows no mirror labelled {label}: on Debian, run apt-get update; elsewhere there is none"
            )
        yield f"deb [arch=amd64 signed-by={_KEYRING}] {mirrors[label]} {name} main"


def _arrange(release: str, files: Path, kernel: Path) -> None:
    """Put image and modules where Kernel has them: packages have had them in several places over the years."""
    modules = kernel / "lib" / "modules" / release
    modules.parent.mkdir(parents=True)
    _only(files, f"**/lib/modules/{release}").rename(modules)
    image = next(modules.glob("vmlinuz"), None) or _only(files, f"boot/vmlinuz-{release}")
    shutil.move(image, kernel / "vmlinuz")
    _run("depmod", "-b", str(kernel), release)


def _only(files: Path, pattern: str) -> Path:
    found = list(files.glob(pattern))
    if len(found) != 1:
        raise KernelUnobtainable(f"the packages have {len(found)} of {pattern}, and should have one")
    return found[0]


def _run(*command: str, directory: Path | None = None) -> str:
    """Standard output of a command. Raises KernelUnobtainable with what it says of its failure."""
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    if done.returncode:
        raise KernelUnobtainable(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
