"""Has BCC compile header_types.c against the running kernel's headers, and writes the BTF that comes of it to a file.

    python -m otel_netagent.kernel.bpf.header_compiler FILE

A process of its own, since a compiler takes 230 MB of memory, and complains to the terminal, not to Python.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from pathlib import Path
from typing import Any, Final

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.libbpf import BpfError, error_text

SOURCE: Final = Path(__file__).with_name("header_types.c")
"""Its function `show` is a program whose argument has all types."""

BCC_MISSING: Final = 3
"""Exit status where there is no BCC."""

_PACKAGES: Final = "/usr/lib/python3/dist-packages"
"""Where Debian and Ubuntu have BCC, which is not on PyPI; a virtual environment does not look there by itself."""


def main(target: Path) -> None:
    """Write the BTF. Raises LibbpfMissing or BpfError, and what BCC raises: no more than Exception."""
    # Where memory is short, the kernel ends this process rather than the agent.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    bcc = _bcc()
    compiled = bcc.BPF(
        src_file=bytes(SOURCE),
        cflags=[
            f'-DRUNNING_RELEASE="{platform.release()}"',
            "-Wno-everything",  # of the kernel's headers, about which there is nothing to be done here
            "-Wfatal-errors",  # one is enough
        ],
    )
    program = compiled.load_func(b"show", bcc.BPF.RAW_TRACEPOINT)
    target.write_bytes(_types_of(program.fd))


def _bcc() -> Any:  # noqa: ANN401 - has no types
    sys.path.append(_PACKAGES)
    try:
        return importlib.import_module("bcc")
    except ModuleNotFoundError:
        sys.exit(BCC_MISSING)


def _types_of(program: int) -> bytes:
    """BTF with which a program was loaded; BCC itself does not return it. Raises BpfError."""
    library = libbpf.load()
    information = libbpf.ProgramInformation()
    size = ctypes.c_uint32(ctypes.sizeof(information))
    if code := library.bpf_obj_get_info_by_fd(program, ctypes.byref(information), ctypes.byref(size)):
        raise BpfError(f"bpf_obj_get_info_by_fd: {error_text(-code)}")
    if not information.btf_id:
        raise BpfError("the kernel rejected the types")
    types = library.btf__load_from_kernel_by_id(information.btf_id)
    if not types:
        raise BpfError(f"btf__load_from_kernel_by_id: {error_text(ctypes.get_errno())}")
    return ctypes.string_at(library.btf__raw_data(types, ctypes.byref(size)), size.value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
