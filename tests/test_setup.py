"""tools/system-packages.sh: what it asks for, where, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "system-packages.sh"

DEBIAN = "ID=debian\n"
NOT_FOUND = "otel-netagent: not found on this system: "


@dataclass
class Machine:
    """A machine as the script sees it: this one, with commands of the test before all others."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, name: str, script: str) -> None:
        """Make a command, found before any other of this name."""
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def distribution(self, os_release: str) -> None:
        """Let the machine be of the distribution that this text names."""
        path = self.directory / "os-release"
        path.write_text(os_release)
        self.environment["OS_RELEASE"] = str(path)

    def run(self, purpose: str = "run") -> subprocess.CompletedProcess[str]:
        """Run the script."""
        environment = os.environ | {"PYTHON": sys.executable, "PATH": f"{self.directory}:{os.environ['PATH']}"}
        return subprocess.run(
            [SCRIPT, purpose], env=environment | self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian where root runs the script, and where calling apt-get is an error unless the test says otherwise."""
    machine = Machine(tmp_path)
    machine.distribution(DEBIAN)
    machine.command("apt-get", "echo 'apt-get was called' >&2; exit 100")
    machine.command("id", "echo 0")
    return machine


def test_nothing_is_said_or_done_where_everything_is_there(machine: Machine) -> None:
    done = machine.run("test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_apt_installs_what_is_missing_and_nothing_else(machine: Machine) -> None:
    calls = machine.directory / "calls"
    installs_clang = f'[ "$1" = update ] || ln -s /bin/true {machine.directory}/missing-clang'
    machine.command("apt-get", f'echo "$*" >> {calls}; {installs_clang}')
    machine.environment["CLANG"] = "missing-clang"
    assert machine.run().returncode == 0
    assert calls.read_text().splitlines() == ["update -qq", "install -qq --no-install-recommends clang"]


def test_apt_that_fails_is_reported_with_the_packages(machine: Machine) -> None:
    machine.environment["CLANG"] = "missing-clang"
    done = machine.run()
    assert done.returncode == 1
    assert "otel-netagent: apt-get could not install clang" in done.stderr


def test_what_apt_installed_in_vain_is_named(machine: Machine) -> None:
    machine.command("apt-get", "exit 0")
    machine.environment["LLVM_STRIP"] = "missing-llvm-strip"
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr == f"{NOT_FOUND}llvm-strip, although apt-get installed llvm\n"


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ('ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME="Ubuntu 24.04"\n', "apt-get install --no-install-recommends"),
        ("ID=fedora\n", "dnf install"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install"),
        ('ID="alinux"\nID_LIKE="rhel fedora centos anolis"\n', "dnf install"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install"),
        ("ID=arch\n", "pacman -S"),
        ("ID=alpine\n", "apk add"),
    ],
)
def test_who_may_not_install_is_told_the_command(machine: Machine, os_release: str, command: str) -> None:
    machine.distribution(os_release)
    machine.command("id", "echo 1000")
    machine.environment |= {"CLANG": "missing-clang", "LLVM_STRIP": "missing-llvm-strip"}
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr == f"{NOT_FOUND}clang llvm-strip; run this, then try again: sudo {command} clang llvm\n"


def test_root_of_another_distribution_is_told_the_command_too(machine: Machine) -> None:
    machine.distribution("ID=fedora\n")
    machine.environment["CLANG"] = "missing-clang"
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr.endswith("sudo dnf install clang\n")


@pytest.mark.parametrize("os_release", ["ID=plan9\n", "", "not a shell assignment ("])
def test_on_an_unknown_distribution_the_needs_are_listed(machine: Machine, os_release: str) -> None:
    machine.distribution(os_release)
    machine.environment["CLANG"] = "missing-clang"
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr == f"{NOT_FOUND}clang; install them with its package manager, then try again\n"


def test_without_python_its_package_is_among_those_to_install(machine: Machine) -> None:
    machine.distribution("ID=opensuse-leap\n")
    machine.environment["PYTHON"] = "missing-python"
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr.endswith("sudo zypper install libbpf1 python3\n")


def test_an_old_python_is_refused_with_a_remedy(machine: Machine) -> None:
    machine.command("old-python", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1')
    machine.environment["PYTHON"] = "old-python"
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr == (
        "otel-netagent: old-python is Python 3.9.2, but 3.11 or newer is needed: "
        "install one and name it, as in: make setup PYTHON=python3.11\n"
    )


def test_the_purpose_is_asked_for(machine: Machine) -> None:
    done = machine.run("nonsense")
    assert done.returncode == 1
    assert done.stderr == f"otel-netagent: usage: {SCRIPT} run|test|vm|stack\n"
