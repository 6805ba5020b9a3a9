"""The real programs: found where they were built before, else built from their modules at pinned versions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.stack.golang import BuildError, Go, run
from tools.stack.licences import refuse_agpl

CONFIGURATION = Path(__file__).parents[2] / "collector-config"

_MANIFEST = CONFIGURATION / "builder.yaml"
_VICTORIALOGS = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
_VICTORIALOGS_VERSION = "v1.52.1"
_BUILDER = "go.opentelemetry.io/collector/cmd/builder"
_KUBERNETES = "k8s.io/kubernetes"
_KUBERNETES_VERSION = "v1.36.3"

_LONG = "on two cores, ten minutes or more"
_SHORT = "a minute or two"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they are; `loki` only where the operator has one in PATH."""

    collector: Path
    victorialogs: Path
    prometheus: Path
    promtool: Path
    loki: Path | None


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the part of Kubernetes is that can be asked for pods: the API server, and its database."""

    apiserver: Path
    etcd: Path


@contextlib.contextmanager
def _cache() -> Iterator[Path]:
    """Where they are kept from one time to the next. What the system has against it becomes a BuildError."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "otel-netagent" / "stack"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
    except OSError as error:
        raise BuildError(
            f"the programs cannot be kept in {directory}: {error.strerror}; let XDG_CACHE_HOME name a directory that "
            "can be written to and has room for them"
        ) from error


def provide(say: Callable[[str], None]) -> Programs:
    """The programs; those that are missing are built, which `say` reports. Raises BuildError where that cannot be."""
    manifest = _manifest()
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()[:12]
    name = f"{manifest['dist']['name']}-{manifest['dist']['version']}-{digest}"
    with _cache() as directory:
        collector = _kept(directory / name, _build_collector, _LONG, say)
        victorialogs = _kept(directory / f"victoria-logs-{_VICTORIALOGS_VERSION}", _build_victorialogs, _SHORT, say)
        prometheus, promtool = _packaged(directory, "prometheus", ("prometheus", "promtool"), say)
        loki = shutil.which("loki")
        return Programs(collector, victorialogs, prometheus, promtool, Path(loki) if loki else None)


def provide_control_plane(say: Callable[[str], None]) -> ControlPlane:
    """As `provide`, of Kubernetes."""
    with _cache() as directory:
        apiserver = _kept(directory / f"kube-apiserver-{_KUBERNETES_VERSION}", _build_apiserver, _LONG, say)
        (etcd,) = _packaged(directory, "etcd-server", ("etcd",), say)
        return ControlPlane(apiserver, etcd)


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(_MANIFEST.read_text())
    return manifest


def _kept(program: Path, build: Callable[[Go, Path], Path], takes: str, say: Callable[[str], None]) -> Path:
    """What was built before, else built now, which `takes` so long."""
    if not program.exists():
        with _building_place(program.parent) as place:
            go = Go.find(program.parent)
            say(f"building {program.name} from its modules, once: {takes}")
            built = build(go, place)
            refuse_agpl(go, built)
            built.rename(program)
    return program


@contextlib.contextmanager
def _building_place(directory: Path) -> Iterator[Path]:
    """A directory beside the result, so that what is finished can be moved there in one step."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="building-") as place:
        yield Path(place)


def _build_collector(go: Go, place: Path) -> Path:
    """By the official builder, of the release that the manifest names."""
    distribution: dict[str, str] = _manifest()["dist"]
    go.run("install", f"{_BUILDER}@v{distribution['version']}", cwd=place, GOBIN=str(place))
    result = place / distribution["output_path"]
    result.mkdir(parents=True)
    # The builder calls the `go` that it finds in PATH.
    environ = {**go.environ, "PATH": f"{go.command.parent}:{go.environ['PATH']}"}
    run([str(place / "builder"), "--config", str(_MANIFEST)], place, environ)
    return result / distribution["name"]


def _build_victorialogs(go: Go, place: Path) -> Path:
    go.run("install", "-ldflags=-s -w", f"{_VICTORIALOGS}@{_VICTORIALOGS_VERSION}", cwd=place, GOBIN=str(place))
    return place / "victoria-logs"


def _build_apiserver(go: Go, place: Path) -> Path:
    """As a dependency of a module that has its requirements: `go install` refuses a module that replaces others.

    What it replaces are modules of the same repository, which are published as v0 of its minor.
    """
    (place / "go.mod").write_text("module stack\n")
    source = go.module(_KUBERNETES, _KUBERNETES_VERSION, place)
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(source / name, place / name)
    module = json.loads(go.run("mod", "edit", "-json", cwd=place))
    published = f"v0{_KUBERNETES_VERSION.removeprefix('v1')}"
    edits = [f"-dropreplace={each['Old']['Path']}" for each in module.get("Replace") or ()]
    edits += [f"-require={each['Path']}@{published}" for each in module["Require"] if each["Version"] == "v0.0.0"]
    go.run("mod", "edit", "-module=stack", f"-require={_KUBERNETES}@{_KUBERNETES_VERSION}", *edits, cwd=place)
    version = f"-X k8s.io/component-base/version.gitVersion={_KUBERNETES_VERSION}"
    command = f"{_KUBERNETES}/cmd/kube-apiserver"
    go.run("build", "-mod=mod", f"-ldflags=-s -w {version}", "-o", "kube-apiserver", command, cwd=place)
    return place / "kube-apiserver"


def _packaged(directory: Path, package: str, names: Sequence[str], say: Callable[[str], None]) -> tuple[Path, ...]:
    """Those in PATH, else of Debian's package, unpacked and not installed: nothing is started, and no user is made."""
    installed = [Path(found) for name in names if (found := shutil.which(name))]
    if len(installed) == len(names):
        return tuple(installed)
    unpacked = directory / package
    if not unpacked.exists():
        if shutil.which("apt-get") is None:
            raise BuildError(f"no {package}: install {' and '.join(names)}, to be found in PATH")
        say(f"fetching {package} from the distribution")
        with _building_place(directory) as place:
            _unpack_package(package, place).rename(unpacked)
    return tuple(unpacked / "usr/bin" / name for name in names)


def _unpack_package(name: str, place: Path) -> Path:
    environ = {**os.environ, "LC_ALL": "C"}
    # As root, apt would drop its privileges for the download, which the directory does not let it.
    download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", name]
    try:
        run(download, place, environ)
    except BuildError:  # it may not know any packages yet
        run(["apt-get", "update", "-qq"], place, environ)
        run(download, place, environ)
    (package,) = place.glob(f"{name}_*.deb")
    run(["dpkg-deb", "--extract", str(package), "unpacked"], place, environ)
    return place / "unpacked"
