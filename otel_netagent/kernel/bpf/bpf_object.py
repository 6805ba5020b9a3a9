"""An eBPF object file in the kernel: its programs, maps and variables, and the links that attach programs."""

from __future__ import annotations

import ctypes
import errno
import mmap
import re
from collections.abc import Callable, Collection, Iterator
from ctypes import c_char, c_size_t, c_uint32
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from otel_netagent.kernel.bpf import libbpf
from otel_netagent.kernel.bpf.btf import DATASEC, Btf, BtfInvalid
from otel_netagent.kernel.bpf.libbpf import BpfError, error_text

_FAILED_PROGRAM: Final = re.compile(r"prog '([^']+)':")
_LOG_SIZE: Final = (1 << 24) - 1
"""The limit of kernels before 6.4; they fail with ENOSPC, and hide the true reason, where a log does not fit."""
_LOG_TAIL_LINES: Final = 3
_AnyLink = TypeVar("_AnyLink", bound="Link")


class ProgramRejected(BpfError):
    """The kernel or libbpf refused one program of an object. `reason` is one line, without the program's name."""

    def __init__(self, program: str, reason: str) -> None:
        """Remember which program it was, so that another attach method can be tried."""
        super().__init__(f"{program}: {reason}")
        self.program = program
        self.reason = reason


class Link:
    """A program attached. It holds as long as the link: a process that dies leaves nothing attached."""

    def __init__(self, handle: int) -> None:
        """Own the `struct bpf_link` at the address `handle`."""
        self._handle: int | None = handle

    @property
    def fd(self) -> int:
        """File descriptor of the link."""
        return int(libbpf.load().bpf_link__fd(self._handle))

    def close(self) -> None:
        """Detach. May be called again."""
        if self._handle is not None:
            libbpf.load().bpf_link__destroy(self._handle)
            self._handle = None


class IteratorLink(Link):
    """An attached iterator: what its program writes can be read as often as wanted."""

    def read(self) -> bytes:
        """Run the iterator over all that it visits, and return all that it wrote. Raises BpfError."""
        fd = libbpf.load().bpf_iter_create(self.fd)
        if fd < 0:
            raise BpfError(f"bpf_iter_create: {error_text(-fd)}")
        with open(fd, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor, not a path
            return stream.readall()


class Map:
    """A map of a loaded object. Keys and values are bytes; what is in them the probe knows."""

    def __init__(self, handle: int, name: str) -> None:
        """Wrap the `struct bpf_map` at the address `handle`."""
        library = libbpf.load()
        self.name: Final = name
        self.fd: Final[int] = library.bpf_map__fd(handle)
        self.key_size: Final[int] = library.bpf_map__key_size(handle)
        self.value_size: Final[int] = library.bpf_map__value_size(handle)
        self.max_entries: Final[int] = library.bpf_map__max_entries(handle)

    def read_all(self) -> tuple[bytes, bytes]:
        """All keys and all values, each end to end in the same order, in few system calls (Linux 5.6).

        An entry that is added or removed meanwhile may be missed or still be there; none comes twice. Raises BpfError.
        """
        return self._read_batches(libbpf.load().bpf_map_lookup_batch)

    def take_all(self) -> tuple[bytes, bytes]:
        """As `read_all`, and leave the map empty. Raises BpfError."""
        return self._read_batches(libbpf.load().bpf_map_lookup_and_delete_batch)

    def _read_batches(self, lookup: Callable[..., int]) -> tuple[bytes, bytes]:
        room = min(self.max_entries, 4096)
        keys = ctypes.create_string_buffer(room * self.key_size)
        values = ctypes.create_string_buffer(room * self.value_size)
        position = c_uint32()
        count = c_uint32()
        all_keys, all_values = bytearray(), bytearray()
        first = True
        while True:
            count.value = room
            code = lookup(
                self.fd, None if first else ctypes.byref(position), ctypes.byref(position), keys, values, count, None
            )
            if code not in (0, -errno.ENOENT):
                raise BpfError(f"map {self.name}: reading in batches: {error_text(-code)}")
            all_keys += memoryview(keys)[: count.value * self.key_size]
            all_values += memoryview(values)[: count.value * self.value_size]
            if code:
                return bytes(all_keys), bytes(all_values)
            first = False

    def read_copies(self, key: bytes) -> list[bytes]:
        """Of a map that keeps a copy of each entry for each CPU, all copies of one. Raises BpfError."""
        spacing = -(-self.value_size // 8) * 8
        copies = ctypes.create_string_buffer(spacing * libbpf.load().libbpf_num_possible_cpus())
        code = libbpf.load().bpf_map_lookup_elem(self.fd, key, copies)
        if code:
            raise BpfError(f"map {self.name}: lookup: {error_text(-code)}")
        content = memoryview(copies)
        return [bytes(content[start : start + self.value_size]) for start in range(0, len(content), spacing)]

    def update(self, key: bytes, value: bytes) -> None:
        """Set one entry. Raises BpfError."""
        code = libbpf.load().bpf_map_update_elem(self.fd, key, value, 0)
        if code:
            raise BpfError(f"map {self.name}: update: {error_text(-code)}")

    def delete(self, key: bytes) -> None:
        """Remove one entry; that there is none is no error. Raises BpfError."""
        code = libbpf.load().bpf_map_delete_elem(self.fd, key)
        if code not in (0, -errno.ENOENT):
            raise BpfError(f"map {self.name}: delete: {error_text(-code)}")


class BpfObject:
    """One object file, opened; after `load()` its chosen programs and its maps are in the kernel."""

    def __init__(self, path: Path, programs: Collection[str], custom_btf: Path | None = None) -> None:
        """Open `path`; of its programs only `programs` will be loaded. Raises BpfError.

        `custom_btf` is a file to take the kernel's types from, where the kernel itself has none.
        """
        self._library = libbpf.load()
        self._links: list[Link] = []
        self._mapped: dict[str, mmap.mmap] = {}
        self._views: dict[str, memoryview[int]] = {}
        self._loaded = False
        self._handle: int | None = None
        if not path.is_file():
            raise BpfError(f"{path} is missing: build it with `make bpf`")
        options = libbpf.OpenOptions(sz=ctypes.sizeof(libbpf.OpenOptions))
        if custom_btf is not None:
            options.btf_custom_path = bytes(custom_btf)
        with self._library.messages() as messages:
            self._handle = self._library.bpf_object__open_file(bytes(path), ctypes.byref(options))
            code = ctypes.get_errno()
        if not self._handle:
            raise BpfError(f"{path}: cannot be opened: {messages[-1] if messages else error_text(code)}")
        # libbpf's copy, in which it has put the offsets of variables that the file leaves open.
        self.btf: Final = self._copied_types(path)
        self._programs = {str(self._library.bpf_program__name(each), "ascii"): each for each in self._each_program()}
        unknown = set(programs) - set(self._programs)
        if unknown:
            self.close()
            raise BpfError(f"{path}: has no program {', '.join(sorted(unknown))}")
        for name, program in self._programs.items():
            self._library.bpf_program__set_autoload(program, name in programs)

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    def leave_out(self, name: str) -> None:
        """Have `load` not make a map, which no chosen program may use then. Raises BpfError where there is none."""
        self._library.bpf_map__set_autocreate(self._find_map(name), False)

    def load(self) -> None:
        """Put the chosen programs and the maps into the kernel. Raises ProgramRejected or BpfError."""
        log = (c_char * _LOG_SIZE).from_buffer(mmap.mmap(-1, _LOG_SIZE))  # memory only as far as it is written
        for program in self._programs.values():
            self._library.bpf_program__set_log_buf(program, log, _LOG_SIZE)
        self._release_views()
        with self._library.messages() as messages:
            code = self._library.bpf_object__load(self._handle)
        for program in self._programs.values():
            self._library.bpf_program__set_log_buf(program, None, 0)
        if code:
            raise _load_error(-code, messages, log.value.decode(errors="replace"))
        self._loaded = True

    @property
    def programs(self) -> Collection[str]:
        """Names of all programs of the file."""
        return self._programs.keys()

    def section(self, program: str) -> str:
        """Where a program wants to be attached, as libbpf spells it: `raw_tp/kfree_skb`."""
        return str(self._library.bpf_program__section_name(self._programs[program]), "ascii")

    def attach(self, program: str) -> Link:
        """Attach a loaded program where its section says. Raises ProgramRejected."""
        return self._keep(Link(self._attached(program, self._library.bpf_program__attach, self._programs[program])))

    def attach_iterator(self, program: str, over: str | None = None) -> IteratorLink:
        """Attach a loaded iterator program; `over` is the map whose elements it visits. Raises ProgramRejected."""
        options = None
        if over is not None:
            info = c_uint32(self.map(over).fd)  # union bpf_iter_link_info: map.map_fd
            options = libbpf.IteratorOptions(
                ctypes.sizeof(libbpf.IteratorOptions), ctypes.addressof(info), ctypes.sizeof(info)
            )
        handle = self._attached(program, self._library.bpf_program__attach_iter, self._programs[program], options)
        return self._keep(IteratorLink(handle))

    def run(self, program: str) -> int:
        """Run a raw tracepoint's program once, in this thread (Linux 5.10); its return value. Raises BpfError."""
        return self._run(program, libbpf.TestRunOptions(), "")

    def run_on_cpu(self, program: str, cpu: int) -> int:
        """Run a raw tracepoint's program once on a CPU (Linux 5.10); its return value. Raises BpfError."""
        return self._run(program, libbpf.TestRunOptions(flags=libbpf.TEST_RUN_ON_CPU, cpu=cpu), f" on CPU {cpu}")

    def _run(self, program: str, options: libbpf.TestRunOptions, where: str) -> int:
        options.sz = ctypes.sizeof(options)
        fd = self._library.bpf_program__fd(self._programs[program])
        code = self._library.bpf_prog_test_run_opts(fd, ctypes.byref(options))
        if code:
            raise BpfError(f"{program}: cannot be run{where}: {error_text(-code)}")
        return int(options.retval)

    def map(self, name: str) -> Map:
        """A map by name. Raises BpfError where there is none."""
        return Map(self._find_map(name), name)

    def variable(self, name: str) -> memoryview[int]:
        """The words of a global variable, in place: constants can be set before `load()`, others any time after.

        A scalar is a view of one item. A view is good until `load()` or `close()`, and must then be requested again;
        one that is kept raises ValueError. Raises KeyError where there is no such variable, PermissionError for a
        constant after `load()`, BpfError for words that are not of 1, 4 or 8 bytes.
        """
        if name not in self._views:
            self._views[name] = self._view(name)
        return self._views[name]

    def close(self) -> None:
        """Detach everything, and take programs and maps out of the kernel. May be called again."""
        while self._links:
            self._links.pop().close()
        self._release_views()
        self._mapped.clear()
        if self._handle is not None:
            self._library.bpf_object__close(self._handle)
            self._handle = None

    def _copied_types(self, path: Path) -> Btf:
        try:
            return Btf.copy_of(self._library.bpf_object__btf(self._handle))
        except BtfInvalid as error:
            self.close()
            raise BpfError(f"{path}: {error}") from error

    def _attached(self, program: str, attach: Callable[..., int | None], *arguments: object) -> int:
        with self._library.messages() as messages:
            handle = attach(*arguments)
            code = ctypes.get_errno()
        if not handle:
            raise ProgramRejected(program, _attach_reason(code, messages))
        return handle

    def _keep(self, link: _AnyLink) -> _AnyLink:
        self._links.append(link)
        return link

    def _each_program(self) -> Iterator[int]:
        program = None
        while program := self._library.bpf_object__next_program(self._handle, program):
            yield program

    def _find_map(self, name: str) -> int:
        handle: int | None = self._library.bpf_object__find_map_by_name(self._handle, name.encode())
        if not handle:
            raise BpfError(f"the object has no map {name}")
        return handle

    def _view(self, name: str) -> memoryview[int]:
        section, offset, type_id = self._variables()[name]
        size = self.btf.size_of(type_id)
        item = self.btf.size_of(self.btf.element(type_id))
        content = self._section_memory(section)[offset : offset + size]
        match item:
            case 1:
                return content
            case 4:
                return content.cast("I")
            case 8:
                return content.cast("Q")
        raise BpfError(f"variable {name}: words of {item} bytes are not supported")

    def _release_views(self) -> None:
        """Whoever kept one would look at memory that is freed, or keep the map in the kernel."""
        while self._views:
            self._views.popitem()[1].release()

    def _section_memory(self, section: str) -> memoryview[int]:
        """Memory of a data section: libbpf's copy until the object is loaded, from then on the kernel's own."""
        handle = self._find_map(section)
        if not self._loaded:
            size = c_size_t()
            address = self._library.bpf_map__initial_value(handle, ctypes.byref(size))
            return memoryview((c_char * size.value).from_address(address)).cast("B")
        if section not in self._mapped:
            area = Map(handle, section)
            self._mapped[section] = mmap.mmap(area.fd, -(-area.value_size // mmap.PAGESIZE) * mmap.PAGESIZE)
        return memoryview(self._mapped[section])

    def _variables(self) -> dict[str, tuple[str, int, int]]:
        """Each global variable: its section, its offset in it, and its type."""
        return {
            name: (section, offset, type_id)
            for section in self.btf.names(DATASEC)
            for name, offset, type_id in self.btf.section_variables(section)
        }


def _load_error(code: int, messages: list[str], log: str) -> BpfError:
    """Which program it was and why: from libbpf's messages and the end of the verifier's log."""
    tail = [line for line in log.splitlines() if line and not line.startswith(("processed ", "verification time"))]
    why = " / ".join(tail[-_LOG_TAIL_LINES:])
    for message in messages:
        if found := _FAILED_PROGRAM.search(message):
            detail = message[found.end() :].strip().removeprefix("BPF program load failed: ")
            return ProgramRejected(found[1], f"{detail}: {why}" if why else detail)
    return BpfError(f"loading: {messages[-1] if messages else error_text(code)}")


def _attach_reason(code: int, messages: list[str]) -> str:
    """What libbpf says, unless the C library has no text for the code: then that is `strerror_r(-524)=22`."""
    said = messages[-1].rpartition(": ")[2] if messages else ""
    return said if said and not said.startswith("strerror_r(") else error_text(code)
