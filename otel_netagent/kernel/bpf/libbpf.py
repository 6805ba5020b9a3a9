"""Binding to `libbpf.so.1`: the functions that are used, with their C types, and nothing else.

Names and types are those of libbpf's headers (`bpf/libbpf.h`, `bpf/bpf.h`, `bpf/btf.h`, release 1.0 and later);
what they mean stands there. The readable face of these functions is `bpf_object.py` and `btf.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import threading
from collections.abc import Iterator
from ctypes import POINTER, c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Final

from otel_netagent.open_files import REMEDY, SHORTAGE

SONAME = "libbpf.so.1"


class LibbpfMissing(Exception):
    """The library is not on this machine; the text says how to get it."""


class BpfError(Exception):
    """A call of libbpf or of bpf(2) failed. The text is one line, ready to be shown."""


class OpenOptions(ctypes.Structure):
    """`struct bpf_object_open_opts`, up to the member that is used."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("reserved", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
    )


class IteratorOptions(ctypes.Structure):
    """`struct bpf_iter_attach_opts`."""

    _fields_ = (("sz", c_size_t), ("link_info", c_void_p), ("link_info_len", c_uint32))


class TestRunOptions(ctypes.Structure):
    """`struct bpf_test_run_opts`."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class ProgramInformation(ctypes.Structure):
    """`struct bpf_prog_info` (linux/bpf.h), up to the member that is used."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint64),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
    )


class BtfType(ctypes.Structure):
    """`struct btf_type` (linux/btf.h), which the parts of a type follow: what these are depends on its kind."""

    _fields_ = (("name_off", c_uint32), ("info", c_uint32), ("size_or_type", c_uint32))


class BtfArray(ctypes.Structure):
    """`struct btf_array`."""

    _fields_ = (("type", c_uint32), ("index_type", c_uint32), ("nelems", c_uint32))


class BtfMember(ctypes.Structure):
    """`struct btf_member`."""

    _fields_ = (("name_off", c_uint32), ("type", c_uint32), ("offset", c_uint32))


class BtfEnumerator(ctypes.Structure):
    """`struct btf_enum`."""

    _fields_ = (("name_off", c_uint32), ("val", c_int32))


class BtfSectionVariable(ctypes.Structure):
    """`struct btf_var_secinfo`."""

    _fields_ = (("type", c_uint32), ("offset", c_uint32), ("size", c_uint32))


TEST_RUN_ON_CPU = 1
"""BPF_F_TEST_RUN_ON_CPU, Linux 5.10."""

SAMPLE_FUNCTION = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
"""`ring_buffer_sample_fn`: (context, record, its size) -> 0, or a negative number to stop."""

WARNING, INFORMATION, DETAIL = range(3)
"""`enum libbpf_print_level`."""

_PRINT_FUNCTION = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    # libbpf.h
    "libbpf_set_print": (c_void_p, [_PRINT_FUNCTION]),
    "libbpf_num_possible_cpus": (c_int, []),
    "bpf_object__open_file": (c_void_p, [c_char_p, POINTER(OpenOptions)]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__btf": (c_void_p, [c_void_p]),
    "bpf_object__next_program": (c_void_p, [c_void_p, c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_program__name": (c_char_p, [c_void_p]),
    "bpf_program__section_name": (c_char_p, [c_void_p]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_program__set_autoload": (c_int, [c_void_p, c_bool]),
    "bpf_program__set_log_buf": (c_int, [c_void_p, c_char_p, c_size_t]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_program__attach_iter": (c_void_p, [c_void_p, POINTER(IteratorOptions)]),
    "bpf_link__fd": (c_int, [c_void_p]),
    "bpf_link__destroy": (c_int, [c_void_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__key_size": (c_uint32, [c_void_p]),
    "bpf_map__value_size": (c_uint32, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__set_autocreate": (c_int, [c_void_p, c_bool]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "ring_buffer__new": (c_void_p, [c_int, SAMPLE_FUNCTION, c_void_p, c_void_p]),
    "ring_buffer__add": (c_int, [c_void_p, c_int, SAMPLE_FUNCTION, c_void_p]),
    "ring_buffer__epoll_fd": (c_int, [c_void_p]),
    "ring_buffer__free": (None, [c_void_p]),
    # bpf.h
    "bpf_iter_create": (c_int, [c_int]),
    "bpf_map_lookup_batch": (c_int, [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p]),
    "bpf_map_lookup_and_delete_batch": (
        c_int,
        [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p],
    ),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_update_elem": (c_int, [c_int, c_void_p, c_void_p, c_uint64]),
    "bpf_map_delete_elem": (c_int, [c_int, c_void_p]),
    "bpf_prog_test_run_opts": (c_int, [c_int, POINTER(TestRunOptions)]),
    "bpf_obj_get_info_by_fd": (c_int, [c_int, c_void_p, POINTER(c_uint32)]),
    # btf.h
    "btf__load_from_kernel_by_id": (c_void_p, [c_uint32]),
    "btf__parse": (c_void_p, [c_char_p, c_void_p]),
    "btf__new": (c_void_p, [c_void_p, c_uint32]),
    "btf__free": (None, [c_void_p]),
    "btf__raw_data": (c_void_p, [c_void_p, POINTER(c_uint32)]),
    "btf__type_cnt": (c_uint32, [c_void_p]),
    "btf__type_by_id": (c_void_p, [c_void_p, c_uint32]),
    "btf__name_by_offset": (c_char_p, [c_void_p, c_uint32]),
    "btf__find_by_name_kind": (c_int32, [c_void_p, c_char_p, c_uint32]),
    "btf__resolve_type": (c_int, [c_void_p, c_uint32]),
    "btf__resolve_size": (c_int64, [c_void_p, c_uint32]),
}


class Libbpf:
    """The loaded library: each function of the table above is an attribute, typed for ctypes."""

    def __init__(self) -> None:
        """Load the library. Raises LibbpfMissing."""
        try:
            self._library = ctypes.CDLL(SONAME, use_errno=True)
        except OSError as error:
            raise LibbpfMissing(
                f"{SONAME} cannot be loaded ({error}): install libbpf 1.0 or newer "
                "(Debian and Ubuntu: libbpf1; Fedora and its kin: libbpf)"
            ) from None
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)
        self._captured = threading.local()
        # The library keeps only the pointer: Python must keep the function.
        self._print = _PRINT_FUNCTION(self._on_message)
        self.libbpf_set_print(self._print)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - ctypes checks the types
        """Show the type checker that functions of the table are attributes; a wrong name still fails."""
        raise AttributeError(name)

    @contextlib.contextmanager
    def messages(self, up_to: int = WARNING) -> Iterator[list[str]]:
        """Collect what the library says in this thread (it says nothing elsewhere), a message an item.

        Down to messages of the level `up_to`; of details there are many, and few are of failures.
        """
        collected: list[str] = []
        self._captured.messages = collected
        self._captured.up_to = up_to
        try:
            yield collected
        finally:
            del self._captured.messages

    def _on_message(self, level: int, template: bytes, arguments: int | None) -> int:
        collected: list[str] | None = getattr(self._captured, "messages", None)
        if collected is None or level > self._captured.up_to:
            return 0
        text = ctypes.create_string_buffer(4096)
        # The arguments are a va_list, which only C can read.
        ctypes.pythonapi.PyOS_vsnprintf(text, c_size_t(len(text)), template, c_void_p(arguments))
        collected.append(text.value.decode(errors="replace").strip())
        return 0


@functools.cache
def load() -> Libbpf:
    """The library, loaded once a process (a C library is one a process anyway). Raises LibbpfMissing."""
    return Libbpf()


_ENOTSUPP: Final = 524
"""The kernel's own, in no header for user space (include/linux/errno.h): bpf(2) lets it out."""


def error_text(code: int) -> str:
    """Name and meaning of a positive errno, as `EPERM (Operation not permitted)`."""
    if code == _ENOTSUPP:
        return "ENOTSUPP (Operation is not supported)"
    remedy = f"; {REMEDY}" if code in SHORTAGE else ""
    return f"{errno.errorcode.get(code, code)} ({os.strerror(code)}){remedy}"
