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
 * Events are attached as raw tracepoints, not as tp_btf: the same event at the same place, and it
 * also loads where the kernel itself holds no BTF and CO-RE works from a file. Arguments are then
 * plain words, and every read of kernel memory is a copy that cannot fault (BPF_CORE_READ).
 */
typedef struct bpf_raw_tracepoint_args raw_tp_context;

#define ARGUMENT(type, context, n) ((type)(context)->args[n])

/*
 * A program at the entry of a kernel function whose second argument is a packet; the handler gets it, and another:
 * the `n`th, of this type. It has two forms: HANDLER_fentry, and HANDLER_kprobe for kernels that refuse the first,
 * which is cheaper.
 */
#define AT_ENTRY_WITH(function, handler, type, n)                                                       \
	SEC("fentry/" #function)                                                                        \
	int handler##_fentry(__u64 *arguments)                                                          \
	{                                                                                               \
		return handler((type)arguments[n - 1], (struct sk_buff *)arguments[1]);                 \
	}                                                                                               \
	SEC("kprobe/" #function)                                                                        \
	int handler##_kprobe(struct pt_regs *registers)                                                 \
	{                                                                                               \
		return handler((type)PT_REGS_PARM##n(registers), (struct sk_buff *)PT_REGS_PARM2(registers)); \
	}

/* The same of a function whose first argument is a socket. */
#define AT_ENTRY_OF(function, handler) AT_ENTRY_WITH(function, handler, const struct sock *, 1)

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
