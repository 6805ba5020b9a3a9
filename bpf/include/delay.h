/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Delays of the node itself, which has no namespace: they are reported as the host's. */
#pragma once

#define OCCURRENCES_MAX 16 /* a key for each kind, in the host's namespace alone */

#include "event.h"

struct delay {
	__u64 latency_ns;
	__u32 cpu;
	__u32 pid; /* of the process that ran on the CPU; 0: none, it was idle */
	__u8 command[TASK_COMM_LEN]; /* of its thread */
};

/* The host's network namespace. Set before the program is loaded. */
const volatile __u64 host_netns_cookie;
const volatile __u32 host_netns_inode;

#define MILLISECOND_NS 1000000ULL

/* How kinds are numbered: one of delays above a threshold that user space sets, and the next above 100 ms. */
static __always_inline __u32 kind_of_delay(__u32 slow, __u64 latency_ns)
{
	return latency_ns > 100 * MILLISECOND_NS ? slow + 1 : slow;
}

/* Count a delay above the threshold; its entry, if an event is to be emitted: as count_occurrence(). */
static __always_inline struct occurrences *count_delay(__u32 kind, __u64 now)
{
	struct occurrence_key key = {
		.netns_cookie = host_netns_cookie, .netns_inode = host_netns_inode, .kind = kind,
	};

	return count_occurrence(&key, now);
}

/* Fill in the header of an event for which there was room, and what is the same of all delays. */
static __always_inline void begin_delay(struct event_header *header, struct delay *delay, struct occurrences *entry,
					__u32 kind, __u64 now, __u64 latency_ns)
{
	struct netns_id host = { .cookie = host_netns_cookie, .inode = host_netns_inode };

	begin_event(header, entry, host, kind, now);
	delay->latency_ns = latency_ns;
	delay->cpu = bpf_get_smp_processor_id();
	delay->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(delay->command, sizeof(delay->command));
}
