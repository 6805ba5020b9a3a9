/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every event record begins with. User space reads the layout of the records from the BTF of
 * the object file: these structures are its only definition.
 */
#pragma once

#include "occurrences.h"

struct event_header {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 netns_cookie;
	__u32 netns_inode; /* 0: the namespace is unknown */
	__u32 kind;        /* as in its occurrence_key */
};

/* Fill in the header of an event for which there was room, and count it as emitted. */
static __always_inline void begin_event(struct event_header *header, struct occurrences *entry,
					struct netns_id netns, __u32 kind, __u64 now)
{
	__sync_fetch_and_add(&entry->emitted, 1);
	header->time_ns = now;
	header->netns_cookie = netns.cookie;
	header->netns_inode = netns.inode;
	header->kind = kind;
}
