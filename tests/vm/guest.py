"""A guest: qemu that boots a kernel by software emulation with this machine's files, runs one job and ends."""

from __future__ import annotations

import contextlib
import lzma
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.vm.kernels import Kernel

_HERE: Final = Path(__file__).parent
_DRIVERS: Final = ("virtio_pci", "virtiofs", "overlay")
_DAEMONS: Final = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL")
_TAIL_LINES: Final = 40

_MACHINE: Final = (
    "-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=multi",
    "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-nic", "none",
)  # fmt: skip
_NIC: Final = ("-netdev", "hubport,id=nowhere,hubid=0", "-device", "virtio-net-pci,netdev=nowhere")
# Time comes from the HPET alone, which says its own speed. On a machine that has other things to do, a kernel measures
# that of the TSC and of its local timer wrong, several times over, and may find that the PIT does not tick at all.
_KERNEL_LINE: Final = (
    "console=ttyS0 panic=-1 quiet nowatchdog mitigations=off tsc=unstable nolapic_timer no_timer_check"
)


class GuestFailed(Exception):
    """A guest did not come to the end of its job; the text says how far it came."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a guest is to do: a command, run in a directory that it finds at the same place as here.

    With a `nic` it has a virtio network device, whose wire leads nowhere.
    """

    command: tuple[str, ...]
    directory: Path
    cpus: int = 1
    nic: bool = False
    memory_mib: int = 1024
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a job: its exit status, and how long the guest lived."""

    status: int
    seconds: float


def run(kernel: Kernel, job: Job, directory: Path) -> Result:
    """Boot `kernel`, run `job`, and leave in `directory` what comes out; it is emptied first.

    That is the job's `output`, the `report` that it leaves in /run/vm/report, the kernel's messages in `console`, and
    what those say that serve the files, in `virtiofsd`. Raises GuestFailed.
    """
    _lay_out_share(kernel, job, directory)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="otel-netagent-vm-") as temporary:
        work = Path(temporary)
        initramfs = _pack_initramfs(kernel, work)
        sockets = {tag: work / f"{tag}.socket" for tag in ("root", "job")}
        with (
            (directory / "console").open("wb") as console,
            (directory / "virtiofsd").open("wb") as log,
            _served(Path("/"), sockets["root"], "always", log),
            _served(directory, sockets["job"], "none", log),
        ):
            _boot([*_qemu(kernel, initramfs, job), *_shares(sockets)], console, job.timeout_s)
    try:
        status = int((directory / "status").read_text(encoding="ascii"))
    except FileNotFoundError:
        raise GuestFailed(f"the guest died before its job ended; its console ends so:\n{_tail(directory)}") from None
    return Result(status, time.monotonic() - started)


def _lay_out_share(kernel: Kernel, job: Job, directory: Path) -> None:
    """Make the directory that the guest has at /run/vm (see init.sh and first.sh)."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "report").mkdir(parents=True)
    (directory / "modules").symlink_to(kernel.modules)
    shutil.copy(_HERE / "first.sh", directory)
    settings = [f"export {name}={shlex.quote(os.environ[name])}" for name in _INHERITED if name in os.environ]
    lines = [*settings, f"cd {shlex.quote(str(job.directory))} || exit", f"exec {shlex.join(job.command)}"]
    (directory / "job.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pack_initramfs(kernel: Kernel, work: Path) -> Path:
    """busybox, init.sh, and the modules without which the guest cannot reach its files."""
    tree = work / "initramfs"
    for name in ("bin", "dev", "proc", "modules", "overlay", "lower", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    shutil.copy(_HERE / "init.sh", tree / "init")
    (tree / "init").chmod(0o755)
    for number, module in enumerate(_modules(kernel)):
        content = module.read_bytes()
        plain = lzma.decompress(content) if module.suffix == ".xz" else content
        (tree / "modules" / f"{number:02}-{module.name.removesuffix('.xz')}").write_bytes(plain)
    names = b"\0".join(bytes(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = work / "initramfs.cpio"
    pack = ("cpio", "--null", "--create", "--format=newc", "--owner=0:0", "--quiet", f"--file={archive}")
    subprocess.run(pack, cwd=tree, input=names, check=True)
    return archive


def _modules(kernel: Kernel) -> list[Path]:
    """Files of the drivers and of all that they need, in the order of loading; what is built in has none."""
    show = ("modprobe", "--show-depends", "--dirname", kernel.root, "--set-version", kernel.release, "--all", *_DRIVERS)
    lines = subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = (line.removeprefix("insmod ").strip() for line in lines if line.startswith("insmod "))
    return [Path(path) for path in dict.fromkeys(found)]


def _qemu(kernel: Kernel, initramfs: Path, job: Job) -> list[str]:
    size = f"{job.memory_mib}M"
    return [
        "qemu-system-x86_64", "-cpu", _cpu(kernel), *_MACHINE, "-smp", str(job.cpus), "-m", size,
        # Shared, since the daemons that serve files write to the guest's memory.
        "-object", f"memory-backend-memfd,id=memory,size={size},share=on",
        "-kernel", str(kernel.image), "-initrd", str(initramfs), "-append", _KERNEL_LINE,
        *(_NIC if job.nic else ()),
    ]  # fmt: skip


def _cpu(kernel: Kernel) -> str:
    """All features of the newest processors, but for cx16 where some kernels die at boot that find it (QEMU 7.2)."""
    return "max,cx16=off" if kernel.release.startswith("6.12.") else "max"


def _shares(sockets: Mapping[str, Path]) -> Iterator[str]:
    for tag, path in sockets.items():
        yield from ("-chardev", f"socket,id={tag},path={path}")
        yield from ("-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}")


@contextlib.contextmanager
def _served(directory: Path, address: Path, cache: str, log: IO[bytes]) -> Iterator[None]:
    """Serve a directory by virtiofs. The socket listens before the daemon starts, so that nobody need wait for it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(1)
        # Its other sandbox, namespaces, cannot serve the root directory itself.
        options = (f"source={directory}", f"cache={cache}", "sandbox=chroot")
        command = (daemon(), f"--fd={listener.fileno()}", *(word for option in options for word in ("-o", option)))
        process = subprocess.Popen(
            _bound_to_us(command), pass_fds=(listener.fileno(),), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def daemon() -> str:
    """The program that serves files by virtiofs: part of qemu's package until QEMU 8, a package of its own since."""
    return next((path for path in _DAEMONS if Path(path).exists()), "virtiofsd")


def _boot(command: Iterable[str], console: IO[bytes], timeout_s: float) -> None:
    """Run qemu to its end. Its exit status tells nothing of the guest: it is 0 after a panic too."""
    process = subprocess.Popen(_bound_to_us(command), stdin=subprocess.DEVNULL, stdout=console, stderr=console)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise GuestFailed(f"not at the end of its job after {timeout_s:.0f} s") from None
    finally:
        process.kill()
        process.wait()


def _bound_to_us(command: Iterable[str]) -> list[str]:
    """A command whose process dies with the thread that started it, however that dies."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


def _tail(directory: Path) -> str:
    lines = (directory / "console").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
