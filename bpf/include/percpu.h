/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where each CPU's copy of the kernel's per-CPU data lies. */
#pragma once

#include "probe.h"

#define CPUS_MAX 1024

/* Distance of each CPU's copy of per-CPU data from the pointer that names it; see learn_percpu_offset. */
__u64 percpu_offsets[CPUS_MAX];
/* How many of percpu_offsets are set: 0 before they are learnt. */
__u32 percpu_count;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu_sample SEC(".maps");

/* Pointers become plain numbers by a detour over memory: the verifier allows no arithmetic between them. */
static volatile __u64 sample_map, sample_here;

/*
 * Run once on each CPU, by BPF_PROG_TEST_RUN. The kernel keeps the offset of each CPU's data in
 * __per_cpu_offset, whose address only a kernel with KALLSYMS_ALL shows. But the same offset
 * lies between where a per-CPU array says its data is and where this CPU finds it.
 */
SEC("raw_tp")
int learn_percpu_offset(void *context)
{
	__u32 zero = 0, cpu = bpf_get_smp_processor_id();
	void *here = bpf_map_lookup_elem(&percpu_sample, &zero);
	struct bpf_array *map;
	void *base;

	if (!here || cpu >= CPUS_MAX)
		return 1;
	sample_here = (__u64)here;
	sample_map = (__u64)&percpu_sample;
	map = (struct bpf_array *)sample_map;
	if (BPF_CORE_READ_INTO(&base, map, pptrs[0]))
		return 1;
	percpu_offsets[cpu] = sample_here - (__u64)base;
	return 0;
}
