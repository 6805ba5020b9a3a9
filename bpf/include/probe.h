/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every program begins with: libbpf's helpers, the kernel's types, and reading by explicit copy. */
#pragma once

#include <linux/bpf.h>

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

/* Whether an address lies in a function, whose range is set before loading: (0, 0) holds none. */
static __always_inline bool is_in(__u64 address, const volatile __u64 range[2])
{
	return address >= range[0] && address < range[1];
}
