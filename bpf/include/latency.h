/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Latencies in a namespace: exact counts above the bounds that series have by their names, and events above
 * a threshold that is the operator's. One counter serves both (occurrences.h): the `place` of an occurrence is
 * how many bounds its latency is above, and it is left untold where it is not above the threshold. So what a
 * series counts is the sum over a place and those beyond it, whatever the threshold.
 */
#pragma once

#include "event.h"

#define LATENCY_KINDS 2
#define LATENCY_BOUNDS 2

/* Set before loading, by kind. They ascend; those that are not used are ~0. */
const volatile __u64 latency_bounds_ns[LATENCY_KINDS][LATENCY_BOUNDS];

/* Set at any time, by kind. Until then, and where no events are wanted, nothing is above it. */
__u64 event_above_ns[LATENCY_KINDS] = { NEVER, NEVER };

/* Whether a latency is to be counted at all: few are, and the others end here. */
static __always_inline bool is_slow(__u32 kind, __u64 latency_ns)
{
	return latency_ns > latency_bounds_ns[kind][0] || latency_ns > event_above_ns[kind];
}

/* Count a latency that is slow; its entry, if there is to be an event: as count_occurrence(). */
static __always_inline struct occurrences *count_latency(struct netns_id netns, __u32 kind, __u64 now,
							 __u64 latency_ns)
{
	struct occurrence_key key = { .netns_cookie = netns.cookie, .netns_inode = netns.inode, .kind = kind };
	struct occurrences *entry;

	for (int i = 0; i < LATENCY_BOUNDS; i++)
		key.place += latency_ns > latency_bounds_ns[kind][i];
	if (latency_ns > event_above_ns[kind])
		return count_occurrence(&key, now);
	entry = occurrences_of(&key);
	__sync_fetch_and_add(entry ? &entry->untold : &uncounted, 1);
	return NULL;
}
