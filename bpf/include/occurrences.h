/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counts every occurrence, and decides which of them become events.
 *
 * A kind of occurrence in a namespace may emit `events_per_second` events. Each occurrence moves one counter of its
 * key: its event was emitted, suppressed by that limit, lost since the ring buffer was full, or not emitted, since
 * the occurrence is expected or events are off. So their sum is what happened, at any time, and a noisy pod takes
 * nothing from the share of another.
 */
#pragma once

#include "netns.h"

/*
 * Room for the seven kinds of 585 namespaces; an object with more or fewer keys says so before. The kernel
 * sets all of it aside at once, 144 bytes a key: to allocate while tracing is safe only since Linux 6.1.
 */
#ifndef OCCURRENCES_MAX
#define OCCURRENCES_MAX 4096
#endif

/* Room for a thousand events of 120 bytes; all of it counts as memory of the reader, who maps it twice. */
#ifndef EVENTS_BYTES
#define EVENTS_BYTES (1 << 17)
#endif

/* A threshold that nothing is above. */
#define NEVER (~0ULL)

struct occurrence_key {
	__u64 netns_cookie; /* 0: the namespace is unknown */
	__u64 location;     /* return address in the function that dropped; of latencies see latency.h; else 0 */
	__u32 netns_inode;
	__u32 kind;         /* what the probe counts apart: an event type, a drop reason */
	__u32 expected;     /* 1: no fault, and an event only where `emit_expected` is set */
	__u32 reserved;
};

struct occurrences {
	__u64 emitted;
	__u64 suppressed;
	__u64 lost;
	__u64 not_emitted;
	__u64 second; /* of CLOCK_MONOTONIC, in which `in_second` events were emitted */
	__u64 in_second;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OCCURRENCES_MAX);
	__type(key, struct occurrence_key);
	__type(value, struct occurrences);
} occurrences SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* Set at any time. Until then no event is emitted. */
__u32 events_per_second;
__u32 emit_expected;

/* Occurrences of kinds for which the table had no room left. */
__u64 uncounted;

#define NANOSECONDS_PER_SECOND 1000000000ULL

/* The entry of a key, made with its first occurrence; NULL where the table is full. */
static __always_inline struct occurrences *occurrences_of(const struct occurrence_key *key)
{
	struct occurrences *entry = bpf_map_lookup_elem(&occurrences, key);
	struct occurrences zero = {};

	if (entry)
		return entry;
	/* Another CPU may be first: then its entry is the one. */
	bpf_map_update_elem(&occurrences, key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&occurrences, key);
}

/*
 * Count so many occurrences of which no event is ever made. Zero is not added: clang makes of an
 * addition of zero an atomic OR, which Linux knows since 5.12.
 */
static __always_inline void count_without_event(const struct occurrence_key *key, __u64 occurred)
{
	struct occurrences *entry;

	if (!occurred)
		return;
	entry = occurrences_of(key);
	__sync_fetch_and_add(entry ? &entry->not_emitted : &uncounted, occurred);
}

/*
 * Count one occurrence of which no event is to be emitted, and return NULL. If one is, return the entry, which is
 * counted by reserve_event() and begin_event(): they must follow.
 *
 * Two CPUs may both emit the last event that a second has left: the limit is then exceeded by one, the
 * counts stay exact.
 */
static __always_inline struct occurrences *count_occurrence(const struct occurrence_key *key, __u64 now)
{
	struct occurrences *entry = occurrences_of(key);
	__u64 second = now / NANOSECONDS_PER_SECOND;

	if (!entry) {
		__sync_fetch_and_add(&uncounted, 1);
		return NULL;
	}
	if (!events_per_second || (key->expected && !emit_expected)) {
		__sync_fetch_and_add(&entry->not_emitted, 1);
		return NULL;
	}
	if (entry->second != second) {
		entry->second = second;
		entry->in_second = 0;
	}
	if (entry->in_second >= events_per_second) {
		__sync_fetch_and_add(&entry->suppressed, 1);
		return NULL;
	}
	__sync_fetch_and_add(&entry->in_second, 1);
	return entry;
}

/*
 * Room for an event of `size` bytes in the ring buffer, which begin_event() counts as emitted; NULL is
 * counted as lost. Were both counted here, the compiler would test the pointer twice, and verifiers
 * up to 6.1 would not know the second time that it is not NULL.
 */
static __always_inline void *reserve_event(struct occurrences *entry, __u64 size)
{
	void *event = bpf_ringbuf_reserve(&events, size, 0);

	if (!event)
		__sync_fetch_and_add(&entry->lost, 1);
	return event;
}
