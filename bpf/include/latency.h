/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Latencies in a namespace: exact counts above the bounds of the series, and events above a threshold that the
 * operator sets. One counter serves both (occurrences.h): the `location` of an occurrence is how many bounds its
 * latency is above, and its event is not emitted where it is not above the threshold. So what a series counts is
 * the sum over one location and those beyond it, whatever the threshold.
 */
#pragma once

#include "event.h"

#define LATENCY_KINDS 2
#define LATENCY_BOUNDS 2

/* Set before loading, by kind. They ascend; those that are not used are ~0. */
const volatile __u64 latency_bounds_ns[LATENCY_KINDS][LATENCY_BOUNDS];

/* Set at any time, by kind. Until then, and while events are off, nothing is above it. */
__u64 event_above_ns[LATENCY_KINDS] = { NEVER, NEVER };

/* Whether a latency is to be counted at all: few are, and the others end here. */
static __always_inline bool is_slow(__u32 kind, __u64 latency_ns)
{
	return latency_ns > latency_bounds_ns[kind][0] || latency_ns > event_above_ns[kind];
}

/* Count a latency that is slow; its entry, if an event is to be emitted: as count_occurrence(). */
static __always_inline struct occurrences *count_latency(struct netns_id netns, __u32 kind, __u64 now,
							 __u64 latency_ns)
{
	struct occurrence_key key = { .netns_cookie = netns.cookie, .netns_inode = netns.inode, .kind = kind };
	struct occurrences *entry;

	for (int i = 0; i < LATENCY_BOUNDS; i++)
		key.location += latency_ns > latency_bounds_ns[kind][i];
	if (latency_ns > event_above_ns[kind])
		return count_occurrence(&key, now);
	entry = occurrences_of(&key);
	__sync_fetch_and_add(entry ? &entry->not_emitted : &uncounted, 1);
	return NULL;
}
