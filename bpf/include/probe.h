/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every program begins with: libbpf's helpers, the kernel's types, and reading by explicit copy. */
#pragma once

#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "kernel_types.h"

/*
 * Programs are attached as raw tracepoints, not as tp_btf: the same event at the same call site, and it
 * also loads where the kernel itself has no BTF and CO-RE works from a file. Arguments are then plain
 * words, which BPF_PROG casts, and every read of kernel memory is a copy that cannot fault (BPF_CORE_READ).
 */

/*
 * An argument that only some kernels pass: ask for the member of struct trace_event_raw_* first. It is in no
 * signature, since BPF_PROG reads those before anything is asked, and a kernel without it rejects the program.
 */
#define ARGUMENT(type, ctx, n) ((type)(ctx)[n])

/* A program that calls a function, with arguments that ___bpf_ctx_cast() or ___bpf_kprobe_args() cast. */
#define CALLING(section, program, context, call)                                \
	SEC(section)                                                            \
	int program(context *ctx)                                               \
	{                                                                       \
		_Pragma("GCC diagnostic push")                                  \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")          \
		return call;                                                    \
		_Pragma("GCC diagnostic pop")                                   \
	}

/*
 * What runs at the entry of a kernel function, with the first arguments of that: as BPF_PROG and BPF_KPROBE at once.
 * It makes two programs, NAME_fentry, and NAME_kprobe for kernels that reject the first, which is cheaper.
 */
#define AT_ENTRY(function, name, args...)                                                               \
	static __always_inline int name(void *ctx, ##args);                                             \
	CALLING("fentry/" #function, name##_fentry, __u64, name(___bpf_ctx_cast(args)))                 \
	CALLING("kprobe/" #function, name##_kprobe, struct pt_regs, name(___bpf_kprobe_args(args)))     \
	static __always_inline int name(void *ctx, ##args)

/* Puts the layout of a structure that user space reads into the object: types that no variable has are left out. */
#define EXPORT_LAYOUT(structure) const struct structure *layout_of_##structure __attribute__((unused))

/*
 * Where a function is: start and end of each of its parts, since compilers put the unlikely ones elsewhere
 * (tcp_v4_rcv.cold). Set before loading, by Symbols.span() of kernel/symbols.py; what is not used is 0.
 */
#define SPAN_PARTS 4

static __always_inline bool is_in(__u64 address, const volatile __u64 span[SPAN_PARTS][2])
{
	for (int i = 0; i < SPAN_PARTS; i++)
		if (address >= span[i][0] && address < span[i][1])
			return true;
	return false;
}
