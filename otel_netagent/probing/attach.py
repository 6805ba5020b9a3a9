"""Attaching the programs of an object by the best method that this kernel supports.

Each thing that a probe watches is a Hook with several attach methods, best first. Whether one works is found out by
trying it: a kernel may reject a program when it is loaded (fentry by policy) or when it is attached (kprobe).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from otel_netagent.kernel.bpf.bpf_object import BpfObject, ProgramRejected
from otel_netagent.kernel.bpf.btf import Btf
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probing.declaration import Environment


class Unavailable(Exception):
    """A probe cannot run here; the text is its reason."""


def kernel_of(environment: Environment) -> KernelFacts:
    """The kernel, for a probe that is nothing without eBPF. Raises Unavailable."""
    if environment.kernel is None:
        raise Unavailable(environment.no_kernel)
    return environment.kernel


@dataclass(frozen=True, slots=True)
class KernelMember:
    """Condition: a structure of the kernel has a member. `lacking` says what that means where it has not."""

    structure: str
    member: str
    lacking: str

    def is_met(self, btf: Btf) -> bool:
        """Whether the kernel of these types has it."""
        return btf.has_member(self.structure, self.member)


@dataclass(frozen=True, slots=True)
class KernelEnumerator:
    """Condition: an enumeration of the kernel has an enumerator. `lacking` says what that means where it has not."""

    enumeration: str
    enumerator: str
    lacking: str

    def is_met(self, btf: Btf) -> bool:
        """Whether the kernel of these types has it."""
        return self.enumerator in btf.enumerators(self.enumeration)


@dataclass(frozen=True, slots=True)
class AttachMethod:
    """How to see what a hook watches: a program of the object, and what the kernel must have for it.

    `along` are further programs without which that one is of no use: all are attached, or the method is rejected.
    """

    program: str
    needs: KernelMember | KernelEnumerator | None = None
    along: tuple[str, ...] = ()

    @property
    def programs(self) -> tuple[str, ...]:
        """All programs of this method; the first stands for it in statuses and messages."""
        return (self.program, *self.along)


def at_entry(handler: str) -> tuple[AttachMethod, AttachMethod]:
    """The two programs that AT_ENTRY (bpf/include/probe.h) makes of a handler."""
    return AttachMethod(f"{handler}_fentry"), AttachMethod(f"{handler}_kprobe")


@dataclass(frozen=True, slots=True)
class Hook:
    """One thing that a probe watches. `purpose` completes "not seen here: ..."."""

    purpose: str
    methods: tuple[AttachMethod, ...]


@dataclass(frozen=True, slots=True)
class Attached:
    """An object in the kernel, and how each of its hooks holds it there."""

    object: BpfObject
    hooks: tuple[HookStatus, ...]


_TYPED: Final = ("fentry", "fexit", "tp_btf", "iter", "lsm")
"""Kinds of programs that the kernel itself attaches by type, so that a file's BTF does not do."""


class _Search:
    """The search for the attach method of one hook: which were rejected so far, and which is to be tried now."""

    def __init__(self, hook: Hook, sections: Mapping[str, str], kernel: KernelFacts) -> None:
        self._hook = hook
        self._sections = sections
        self._kernel = kernel
        self._refused: list[Refusal] = []
        self._methods = deque(hook.methods)
        self._pass_over_lacking()

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs to try now; none when every method was rejected."""
        return self._methods[0].programs if self._methods else ()

    def reject(self, program: str, reason: str) -> None:
        self._pass_over(program, reason)
        self._pass_over_lacking()

    @property
    def status(self) -> HookStatus:
        way = self._sections[self._methods[0].program] if self._methods else None
        return HookStatus(self._hook.purpose, way, tuple(self._refused))

    def _pass_over_lacking(self) -> None:
        while self._methods and (lacking := self._lacking(self._methods[0])):
            self._pass_over(self._methods[0].program, lacking)

    def _lacking(self, method: AttachMethod) -> str | None:
        if not self._kernel.source.in_kernel and self._sections[method.program].startswith(_TYPED):
            return "needs BTF in the kernel itself"
        if method.needs is None or method.needs.is_met(self._kernel.btf):
            return None
        return method.needs.lacking

    def _pass_over(self, program: str, reason: str) -> None:
        self._methods.popleft()
        self._refused.append(Refusal(self._sections[program], reason))


def attach(
    kernel: KernelFacts,
    object_file: str,
    hooks: Sequence[Hook],
    prepare: Callable[[BpfObject], None] = lambda _unloaded: None,
) -> Attached:
    """Load `object_file` and attach each hook, in their order, by its first method that works.

    `prepare` sets constants before the object is loaded; it may be called several times, for an object each.
    Raises Unavailable where no hook can be attached at all, BpfError where the object itself is at fault.
    """
    path = kernel.objects / f"{object_file}.bpf.o"
    with BpfObject(path, ()) as unloaded:
        methods = [method for hook in hooks for method in hook.methods]
        sections = {program: unloaded.section(program) for method in methods for program in method.programs}
    searches = [_Search(hook, sections, kernel) for hook in hooks]
    while programs := list(dict.fromkeys(program for search in searches for program in search.programs)):
        try:
            bpf_object = _load_and_attach(BpfObject(path, programs, kernel.custom_btf), programs, prepare)
        except ProgramRejected as error:
            if error.program not in programs:
                raise
            for search in searches:
                if error.program in search.programs:
                    search.reject(error.program, error.reason)
        else:
            return Attached(bpf_object, tuple(search.status for search in searches))
    refusals = (refusal for search in searches for refusal in search.status.refused)
    raise Unavailable("; ".join(f"{refusal.way}: {refusal.reason}" for refusal in refusals))


def _load_and_attach(
    bpf_object: BpfObject, programs: Collection[str], prepare: Callable[[BpfObject], None]
) -> BpfObject:
    """All or nothing: where one program is rejected, none stays attached and nothing loaded."""
    try:
        prepare(bpf_object)
        bpf_object.load()
        for program in programs:
            bpf_object.attach(program)
    except BaseException:
        bpf_object.close()
        raise
    return bpf_object
