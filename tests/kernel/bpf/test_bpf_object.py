"""An object in the kernel: its programs run, its variables and maps are shared, and its errors say which and why."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_netagent.kernel.bpf.bpf_object import BpfObject, Map, ProgramRejected
from otel_netagent.kernel.bpf.libbpf import BpfError
from tests.kernel.fixtures import CompileBpf
from tests.kernel.held import held

TINY = r"""
#include "probe.h"

const volatile __u32 factor = 3;
const volatile __u64 table[3][2];
const volatile __u8 flags[5] = { 1 };
__u64 words[4] = { 10, 20, 30, 40 };
__u32 small;
__u64 result;
__u16 odd_one = 7;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u32);
} many SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} three SEC(".maps");

/* Not of eight bytes: the kernel gives each copy in eight. */
struct per_cpu {
	__u32 runs;
	__u32 cpu;
	__u32 more;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct per_cpu);
} each_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

SEC("raw_tp")
int compute(void *context)
{
	__u32 zero = 0;
	__u64 *first = bpf_map_lookup_elem(&three, &zero);

	struct per_cpu *here = bpf_map_lookup_elem(&each_cpu, &zero);

	if (here) {
		here->runs++;
		here->cpu = bpf_get_smp_processor_id();
	}
	result = factor * small + table[2][1] + flags[4] + words[3] + (first ? *first : 0);
	odd_one++;
	return bpf_get_smp_processor_id() + 100;
}

__u64 calls;

SEC("raw_tp/sys_enter")
int count_calls(void *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("raw_tp/no_such_event_in_any_kernel")
int on_nothing(void *context)
{
	return bpf_ringbuf_output(&ring, &small, sizeof(small), 0);
}

SEC("iter/task")
int walk(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	__u32 pid;

	if (!task)
		return 0;
	pid = task->tgid;
	bpf_seq_write(context->meta->seq, &pid, sizeof(pid));
	return 0;
}
"""


@pytest.fixture
def tiny(compile_bpf: CompileBpf) -> Path:
    return compile_bpf(TINY)


@pytest.fixture
def loaded(tiny: Path) -> Iterator[BpfObject]:
    """Every program of the tiny object, loaded."""
    with BpfObject(tiny, ("compute", "count_calls", "on_nothing", "walk")) as bpf_object:
        bpf_object.load()
        yield bpf_object


# --- Programs


def test_only_the_chosen_programs_are_loaded(tiny: Path) -> None:
    before = held()
    with BpfObject(tiny, ("compute", "walk")) as bpf_object:
        assert held()["program"] == before["program"]
        bpf_object.load()
        assert held()["program"] == before["program"] + 2
    assert held() == before


def test_a_program_runs_on_the_cpu_that_is_asked_for(loaded: BpfObject) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    assert [loaded.run_on_cpu("compute", cpu) for cpu in cpus] == [100 + cpu for cpu in cpus]


def test_a_program_that_no_cpu_is_named_for_runs_where_the_thread_does(loaded: BpfObject) -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cpus)})
    try:
        assert loaded.run("compute") == 100 + max(cpus)
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_cpu_that_is_not_there_is_refused(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match=r"^compute: cannot be run on CPU 100000: E\w+ \(.+\)$"):
        loaded.run_on_cpu("compute", 100_000)


def test_a_section_is_spelled_as_in_the_source(loaded: BpfObject) -> None:
    assert [loaded.section(program) for program in ("compute", "count_calls", "walk")] == [
        "raw_tp",
        "raw_tp/sys_enter",
        "iter/task",
    ]


def test_an_attached_program_fires_until_its_link_is_closed(loaded: BpfObject) -> None:
    calls = loaded.variable("calls")
    before = held()
    link = loaded.attach("count_calls")
    assert held()["link"] == before["link"] + 1
    os.getppid()
    assert calls[0] > 0
    link.close()
    link.close()
    assert held() == before
    after = calls[0]
    os.getppid()
    assert calls[0] == after


def test_an_iterator_can_be_read_again_and_again(loaded: BpfObject) -> None:
    iterator = loaded.attach_iterator("walk")
    for _ in range(3):
        pids = {pid for (pid,) in struct.iter_unpack("=I", iterator.read())}
        assert {os.getpid(), os.getppid()} <= pids


def test_nothing_is_left_after_close(tiny: Path) -> None:
    before = held()
    bpf_object = BpfObject(tiny, ("count_calls", "walk"))
    bpf_object.load()
    calls = bpf_object.variable("calls")
    bpf_object.attach("count_calls")
    bpf_object.attach_iterator("walk").read()
    assert (held() - before).keys() == {"program", "link", "map"}
    bpf_object.close()
    bpf_object.close()
    assert held() == before
    with pytest.raises(ValueError, match="released"):
        calls[0] = 1


# --- Variables


def test_variables_have_their_initial_values_before_and_after_load(tiny: Path) -> None:
    with BpfObject(tiny, ("compute",)) as bpf_object:
        assert bpf_object.variable("words").tolist() == [10, 20, 30, 40]
        assert bpf_object.variable("small").tolist() == [0]
        bpf_object.load()
        assert bpf_object.variable("words").tolist() == [10, 20, 30, 40]
        assert bpf_object.variable("small").tolist() == [0]


def test_constants_have_their_initial_values_before_load(tiny: Path) -> None:
    with BpfObject(tiny, ()) as bpf_object:
        assert bpf_object.variable("factor").tolist() == [3]
        assert bpf_object.variable("flags").tolist() == [1, 0, 0, 0, 0]
        assert bpf_object.variable("table").tolist() == [0] * 6


def test_a_program_sees_what_was_set_before_and_after_load(tiny: Path) -> None:
    with BpfObject(tiny, ("compute",)) as bpf_object:
        bpf_object.variable("factor")[0] = 5
        bpf_object.variable("table")[2 * 2 + 1] = 1_000  # table[2][1]
        bpf_object.variable("flags")[4] = 200
        bpf_object.variable("words")[3] = 10_000
        bpf_object.load()
        bpf_object.variable("small")[0] = 7
        bpf_object.map("three").update(struct.pack("=I", 0), struct.pack("=Q", 100_000))
        bpf_object.run_on_cpu("compute", min(os.sched_getaffinity(0)))
        assert bpf_object.variable("result")[0] == 5 * 7 + 1_000 + 200 + 10_000 + 100_000


def test_a_constant_cannot_be_changed_after_load(loaded: BpfObject) -> None:
    """The kernel has frozen it: the verifier has decided by its value."""
    with pytest.raises(PermissionError):
        loaded.variable("factor")


def test_an_unknown_variable_is_a_key_error(loaded: BpfObject) -> None:
    with pytest.raises(KeyError, match="no_such_variable"):
        loaded.variable("no_such_variable")


def test_words_of_an_odd_size_are_refused_by_name(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match=r"^variable odd_one: words of 2 bytes are not supported$"):
        loaded.variable("odd_one")


def test_a_variable_is_not_looked_at_where_it_is_no_more(tiny: Path) -> None:
    with BpfObject(tiny, ("compute",)) as bpf_object:
        before_load = bpf_object.variable("small")
        bpf_object.load()
        after_load = bpf_object.variable("small")
        assert after_load[0] == 0
        with pytest.raises(ValueError, match="released"):
            before_load[0] = 1
    with pytest.raises(ValueError, match="released"):
        after_load[0] = 1


# --- Maps


def entries(of_map: Map) -> dict[int, int]:
    """All entries of `many`; fails if one comes twice."""
    keys, values = of_map.read_all()
    pairs = list(
        zip(struct.unpack(f"={len(keys) // 8}Q", keys), struct.unpack(f"={len(values) // 4}I", values), strict=True)
    )
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def put(into: Map, key: int, value: int) -> None:
    into.update(struct.pack("=Q", key), struct.pack("=I", value))


def test_a_map_knows_its_sizes(loaded: BpfObject) -> None:
    many = loaded.map("many")
    assert (many.name, many.key_size, many.value_size, many.max_entries) == ("many", 8, 4, 16384)


def test_more_entries_than_one_batch_are_read(loaded: BpfObject) -> None:
    many = loaded.map("many")
    truth = {key * 2_654_435_761: key for key in range(10_000)}
    for key, value in truth.items():
        put(many, key, value)
    assert entries(many) == truth


def test_a_full_map_is_read_whole_and_takes_no_more(loaded: BpfObject) -> None:
    many = loaded.map("many")
    for key in range(many.max_entries):
        put(many, key, 1)
    assert len(entries(many)) == many.max_entries
    with pytest.raises(BpfError, match=r"^map many: update: E2BIG \(.*\)$"):
        put(many, many.max_entries, 1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 2**32 - 1))))
def test_a_map_is_what_was_put_into_it_and_not_deleted(
    loaded: BpfObject, changes: list[tuple[int, int | None]]
) -> None:
    many = loaded.map("many")
    model: dict[int, int] = {}
    for key, value in changes:
        if value is None:
            many.delete(struct.pack("=Q", key))  # which may not be there: no error
            model.pop(key, None)
        else:
            put(many, key, value)
            model[key] = value
    assert entries(many) == model
    for key in model:
        many.delete(struct.pack("=Q", key))


def test_an_array_is_read_in_its_order(loaded: BpfObject) -> None:
    three = loaded.map("three")
    for index in range(3):
        three.update(struct.pack("=I", index), struct.pack("=Q", 7**index))
    assert three.read_all() == (struct.pack("=3I", 0, 1, 2), struct.pack("=3Q", 1, 7, 49))


def test_the_copies_of_each_cpu_are_read_apart(loaded: BpfObject) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    for cpu in cpus:
        for _ in range(cpu + 1):
            loaded.run_on_cpu("compute", cpu)
    copies = [struct.unpack("=3I", copy) for copy in loaded.map("each_cpu").read_copies(struct.pack("=I", 0))]
    assert [copies[cpu] for cpu in cpus] == [(cpu + 1, cpu, 0) for cpu in cpus]
    assert not any(map(any, (copy for cpu, copy in enumerate(copies) if cpu not in cpus)))
    with pytest.raises(BpfError, match=r"^map each_cpu: lookup: ENOENT "):
        loaded.map("each_cpu").read_copies(struct.pack("=I", 2))


def test_a_map_that_has_no_entries_to_read_says_so(loaded: BpfObject) -> None:
    with pytest.raises(BpfError, match=r"^map ring: reading in batches: ENOTSUPP \(.*\)$"):
        loaded.map("ring").read_all()


def test_a_map_that_is_left_out_is_not_made(tiny: Path) -> None:
    made: dict[bool, int] = {}
    for left_out in (False, True):
        before = held()["map"]
        with BpfObject(tiny, ("count_calls",)) as bpf_object:
            if left_out:
                bpf_object.leave_out("many")
            bpf_object.load()
            made[left_out] = held()["map"] - before
    assert made[True] == made[False] - 1


def test_a_program_whose_map_is_left_out_is_refused(tiny: Path) -> None:
    with BpfObject(tiny, ("compute",)) as bpf_object:
        bpf_object.leave_out("three")
        with pytest.raises(ProgramRejected):
            bpf_object.load()


def test_an_unknown_map_is_named(loaded: BpfObject, tiny: Path) -> None:
    with BpfObject(tiny, ()) as unloaded, pytest.raises(BpfError, match=r"^the object has no map no_such_map$"):
        unloaded.leave_out("no_such_map")
    with pytest.raises(BpfError, match=r"^the object has no map no_such_map$"):
        loaded.map("no_such_map")


# --- What is refused


def test_an_unknown_program_is_named(tiny: Path) -> None:
    before = held()
    with pytest.raises(BpfError, match=rf"^{tiny}: has no program nor_this, not_this$"):
        BpfObject(tiny, ("compute", "not_this", "nor_this"))
    assert held() == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=rf"^{tmp_path}/none\.bpf\.o is missing: build it with `make bpf`$"):
        BpfObject(tmp_path / "none.bpf.o", ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"\x7fELF\x02\x01\x01".__add__))
def test_a_file_that_is_no_object_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.bpf.o"
    path.write_bytes(content)
    with pytest.raises(BpfError, match=rf"^{path}: cannot be opened: [^\n]+$"):
        BpfObject(path, ())


def test_a_program_that_the_verifier_rejects_is_named_with_its_words(compile_bpf: CompileBpf) -> None:
    path = compile_bpf(
        """
        #include "probe.h"
        SEC("raw_tp/sys_enter") int good(void *context) { return 0; }
        SEC("raw_tp/sys_enter") int greedy(__u64 *ctx) { return *(int *)ctx[0]; }
        """
    )
    before = held()
    for chosen in (("good", "greedy"), ("greedy",)):
        with BpfObject(path, chosen) as bpf_object, pytest.raises(ProgramRejected) as rejected:
            bpf_object.load()
        assert rejected.value.program == "greedy"
        assert str(rejected.value) == f"greedy: {rejected.value.reason}"
        assert re.fullmatch(r"[A-Z].*invalid mem access.*", rejected.value.reason)
        assert held() == before
    with BpfObject(path, ("good",)) as bpf_object:
        bpf_object.load()


def test_a_program_for_which_libbpf_finds_no_target_is_named(compile_bpf: CompileBpf) -> None:
    path = compile_bpf(
        """
        #include "probe.h"
        SEC("fentry/no_such_function_in_any_kernel") int orphan(void *context) { return 0; }
        """
    )
    with BpfObject(path, ("orphan",)) as bpf_object, pytest.raises(ProgramRejected) as rejected:
        bpf_object.load()
    assert rejected.value.program == "orphan"
    assert "\n" not in rejected.value.reason
    assert rejected.value.reason


def test_a_program_that_cannot_be_attached_is_named(loaded: BpfObject) -> None:
    before = held()
    with pytest.raises(ProgramRejected) as rejected:
        loaded.attach("on_nothing")
    assert rejected.value.program == "on_nothing"
    assert str(rejected.value) == f"on_nothing: {rejected.value.reason}"
    assert rejected.value.reason == "No such file or directory"
    assert held() == before


def test_a_program_that_is_no_iterator_cannot_be_attached_as_one(loaded: BpfObject) -> None:
    with pytest.raises(ProgramRejected, match=r"^compute: "):
        loaded.attach_iterator("compute")
