"""Each hook is attached by the first of its methods that this kernel supports; why others failed is reported."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import pytest

from otel_netagent.kernel.bpf.bpf_object import BpfObject, Link
from otel_netagent.kernel.bpf.libbpf import BpfError
from otel_netagent.kernel.facts import KernelFacts
from otel_netagent.model.probe_status import HookStatus, Refusal
from otel_netagent.probing.attach import (
    Attached,
    AttachMethod,
    Hook,
    KernelEnumerator,
    KernelMember,
    Unavailable,
    attach,
)
from tests.kernel.fixtures import CompileBpf
from tests.kernel.held import held

TINY = r"""
#include "probe.h"

const volatile __u32 prepared;
__u64 calls, calls_elsewhere;

SEC("raw_tp/sys_enter")
int works(void *ctx)
{
	if (prepared)
		__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("raw_tp/sys_exit")
int works_too(void *ctx)
{
	__sync_fetch_and_add(&calls_elsewhere, 1);
	return 0;
}

/* Refused when it is loaded, by the verifier. */
SEC("raw_tp/sys_enter")
int not_loaded(__u64 *ctx)
{
	return *(int *)ctx[0];
}

/* Refused when it is loaded, by libbpf. */
SEC("fentry/no_such_function_in_any_kernel")
int not_found(void *context)
{
	return 0;
}

/* Loaded, and refused when it is attached. */
SEC("raw_tp/no_such_event_in_any_kernel")
int not_attached(void *context)
{
	return 0;
}

/* Loaded, attached or refused as the policy of the running kernel has it. */
SEC("fentry/__x64_sys_getppid")
int by_fentry(void *context)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("kprobe/__x64_sys_getppid")
int by_kprobe(void *context)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
"""

WORKS = AttachMethod("works")
LACKING = AttachMethod(
    "works_too", needs=KernelMember("task_struct", "no_such_member", "this kernel is too old for it")
)
SECTIONS = {
    "not_loaded": "raw_tp/sys_enter",
    "not_found": "fentry/no_such_function_in_any_kernel",
    "not_attached": "raw_tp/no_such_event_in_any_kernel",
}


@pytest.fixture
def tiny(kernel: KernelFacts, compile_bpf: CompileBpf) -> KernelFacts:
    """The running kernel, with the tiny object in place of the agent's own."""
    return dataclasses.replace(kernel, objects=compile_bpf(TINY).parent)


def prepare(bpf_object: BpfObject) -> None:
    bpf_object.variable("prepared")[0] = 1


@contextlib.contextmanager
def attached(kernel: KernelFacts, *hooks: Hook, prepare: Callable[[BpfObject], None] = prepare) -> Iterator[Attached]:
    result = attach(kernel, "tiny", hooks, prepare)
    with result.object:
        yield result


def refused(status: HookStatus) -> list[str]:
    """The rejected methods of a hook, in their order."""
    return [refusal.way for refusal in status.refused]


def test_the_best_way_is_taken_where_it_works(tiny: KernelFacts) -> None:
    before = held()
    with attached(tiny, Hook("calls", (WORKS, AttachMethod("works_too")))) as result:
        assert result.hooks == (HookStatus("calls", "raw_tp/sys_enter"),)
        assert (held() - before)["link"] == 1
        os.getppid()
        assert result.object.variable("calls")[0] > 0
    assert held() == before


@pytest.mark.parametrize("program", SECTIONS)
def test_the_next_way_is_taken_where_one_is_refused(tiny: KernelFacts, program: str) -> None:
    before = held()
    with attached(tiny, Hook("calls", (AttachMethod(program), WORKS))) as result:
        (status,) = result.hooks
        assert status.way == "raw_tp/sys_enter"
        assert refused(status) == [SECTIONS[program]]
        assert status.refused[0].reason
        assert (held() - before)["program"] == (held() - before)["link"] == 1
        os.getppid()
        assert result.object.variable("calls")[0] > 0


def test_refusals_are_told_in_their_order(tiny: KernelFacts) -> None:
    ways = (LACKING, *map(AttachMethod, SECTIONS), WORKS)
    with attached(tiny, Hook("calls", ways)) as result:
        (status,) = result.hooks
        assert status.way == "raw_tp/sys_enter"
        assert refused(status) == ["raw_tp/sys_exit", *SECTIONS.values()]
        assert status.refused[0].reason == "this kernel is too old for it"
        assert "invalid mem access" in status.refused[1].reason
        assert not [each for each in status.refused if "\n" in each.reason]


@pytest.mark.parametrize(
    "need",
    [
        KernelMember("task_struct", "no_such_member", "too old"),
        KernelEnumerator("bpf_map_type", "NO_SUCH_TYPE", "too old"),
        KernelEnumerator("no_such_enumeration", "BPF_MAP_TYPE_HASH", "too old"),
    ],
)
def test_a_way_whose_need_is_not_met_is_refused_with_what_that_means(
    tiny: KernelFacts, need: KernelMember | KernelEnumerator
) -> None:
    with attached(tiny, Hook("calls", (AttachMethod("works_too", needs=need), WORKS))) as result:
        (status,) = result.hooks
        assert (status.way, status.refused) == ("raw_tp/sys_enter", (Refusal("raw_tp/sys_exit", "too old"),))


@pytest.mark.parametrize(
    "need",
    [
        KernelMember("task_struct", "nsproxy", "not said"),
        KernelEnumerator("bpf_map_type", "BPF_MAP_TYPE_HASH", "not said"),
    ],
)
def test_a_way_whose_need_is_met_is_tried(tiny: KernelFacts, need: KernelMember | KernelEnumerator) -> None:
    met = AttachMethod("works", needs=need)
    with attached(tiny, Hook("calls", (met,))) as result:
        assert result.hooks == (HookStatus("calls", "raw_tp/sys_enter"),)


def test_a_later_way_whose_need_is_not_met_is_not_tried(tiny: KernelFacts) -> None:
    with attached(tiny, Hook("calls", (AttachMethod("not_attached"), LACKING, WORKS))) as result:
        (status,) = result.hooks
        assert status.way == "raw_tp/sys_enter"
        assert refused(status) == [SECTIONS["not_attached"], "raw_tp/sys_exit"]


def test_hooks_decide_each_for_itself(tiny: KernelFacts) -> None:
    hooks = (
        Hook("first", (AttachMethod("not_attached"), WORKS)),
        Hook("second", (AttachMethod("not_loaded"), AttachMethod("not_found"))),
        Hook("third", (AttachMethod("works_too"),)),
    )
    with attached(tiny, *hooks) as result:
        assert [(status.purpose, status.way) for status in result.hooks] == [
            ("first", "raw_tp/sys_enter"),
            ("second", None),
            ("third", "raw_tp/sys_exit"),
        ]
        assert [len(status.refused) for status in result.hooks] == [1, 2, 0]
        os.getppid()
        assert result.object.variable("calls")[0] > 0
        assert result.object.variable("calls_elsewhere")[0] > 0


def test_hooks_may_share_a_program(tiny: KernelFacts) -> None:
    before = held()
    with attached(tiny, Hook("one", (WORKS,)), Hook("other", (AttachMethod("not_found"), WORKS))) as result:
        assert [status.way for status in result.hooks] == ["raw_tp/sys_enter", "raw_tp/sys_enter"]
        assert (held() - before)["link"] == 1


def test_a_way_of_several_programs_attaches_all(tiny: KernelFacts) -> None:
    before = held()
    with attached(tiny, Hook("calls", (AttachMethod("works", along=("works_too",)),))) as result:
        assert result.hooks == (HookStatus("calls", "raw_tp/sys_enter"),)
        assert (held() - before)["link"] == 2


@pytest.mark.parametrize("program", SECTIONS)
def test_a_way_of_several_programs_is_refused_with_any_of_them(tiny: KernelFacts, program: str) -> None:
    before = held()
    with attached(tiny, Hook("calls", (AttachMethod("works", along=(program,)), AttachMethod("works_too")))) as result:
        (status,) = result.hooks
        assert (status.way, refused(status)) == ("raw_tp/sys_exit", [SECTIONS[program]])
        assert (held() - before)["program"] == (held() - before)["link"] == 1


def test_hooks_are_attached_in_their_order(tiny: KernelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    attach_one = BpfObject.attach

    def noting(self: BpfObject, program: str) -> Link:
        order.append(program)
        return attach_one(self, program)

    monkeypatch.setattr(BpfObject, "attach", noting)
    with attached(tiny, Hook("first", (AttachMethod("works_too"),)), Hook("second", (WORKS,))):
        assert order == ["works_too", "works"]


def test_a_refused_program_is_refused_for_all_hooks_that_share_it(tiny: KernelFacts) -> None:
    with attached(
        tiny, Hook("one", (AttachMethod("not_attached"), WORKS)), Hook("other", (AttachMethod("not_attached"),))
    ) as result:
        assert [status.way for status in result.hooks] == ["raw_tp/sys_enter", None]
        assert [refused(status) for status in result.hooks] == [[SECTIONS["not_attached"]]] * 2


def test_where_nothing_works_every_reason_is_told_and_nothing_stays(tiny: KernelFacts) -> None:
    before = held()
    with pytest.raises(Unavailable) as unavailable:
        attach(
            tiny,
            "tiny",
            (Hook("one", (LACKING, AttachMethod("not_loaded"))), Hook("two", (AttachMethod("not_attached"),))),
            prepare,
        )
    text = str(unavailable.value)
    assert text.startswith("raw_tp/sys_exit: this kernel is too old for it; raw_tp/sys_enter: ")
    assert "; raw_tp/no_such_event_in_any_kernel: " in text
    assert "\n" not in text
    assert held() == before


def test_nothing_stays_of_a_round_in_which_a_later_program_fails(tiny: KernelFacts) -> None:
    """Programs are attached one after the other: those before the refused one must be taken away."""
    before = held()
    seen: list[int] = []

    def note(bpf_object: BpfObject) -> None:
        prepare(bpf_object)
        seen.append(held()["link"] - before["link"])

    first = Hook("first", (AttachMethod("by_fentry"), AttachMethod("by_kprobe"), WORKS))
    with attached(tiny, first, Hook("later", (AttachMethod("not_attached"),)), prepare=note):
        assert len(seen) > 1
        assert set(seen) == {0}


def test_whatever_the_policy_of_this_kernel_something_is_found(tiny: KernelFacts) -> None:
    """Some kernels refuse fentry when it is loaded, some kprobes when they are attached, some neither."""
    sections = ["fentry/__x64_sys_getppid", "kprobe/__x64_sys_getppid", "raw_tp/sys_enter"]
    with attached(tiny, Hook("calls", (AttachMethod("by_fentry"), AttachMethod("by_kprobe"), WORKS))) as result:
        (status,) = result.hooks
        assert [*refused(status), status.way] == sections[: len(status.refused) + 1]
        os.getppid()
        assert result.object.variable("calls")[0] > 0


def test_an_error_of_prepare_leaves_nothing(tiny: KernelFacts) -> None:
    before = held()

    def fail(_bpf_object: BpfObject) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attach(tiny, "tiny", (Hook("calls", (WORKS,)),), fail)
    assert held() == before


def test_a_missing_object_is_no_question_of_ways(tiny: KernelFacts) -> None:
    with pytest.raises(BpfError, match=r"none\.bpf\.o is missing: "):
        attach(tiny, "none", (Hook("calls", (WORKS,)),), prepare)
