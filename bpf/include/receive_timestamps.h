/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Timestamps of a packet along the receive path of the IP layer, and along the transmit path, on kernels that let the
 * entries of their functions be watched. The time between two stages is a part of the packet's latency.
 *
 * Packets that a driver hands over in lists (ip_list_rcv) are seen from PREROUTED on.
 */
#pragma once

#include "probe.h"

enum stage {
	RECEIVED,    /* netfilter's PREROUTING follows */
	PREROUTED,   /* ... the search for a route */
	ROUTED_HERE, /* ... LOCAL_IN */
	LET_IN,      /* ... the transport protocol */
	LEAVING,     /* ... LOCAL_OUT */
	ROUTED_OUT,  /* ... POSTROUTING */
	LET_OUT,     /* ... the neighbour and the device */
	STAGES,
};

/* Parts of a latency; 0: unknown. */
struct parts {
	__u64 prerouting_ns;
	__u64 route_ns;
	__u64 local_in_ns;
	__u64 local_out_ns;
	__u64 postrouting_ns;
};

/*
 * A packet between two stages, identified by its address and its timestamp together, since addresses are used again.
 * The slot is the newest one's; a packet whose slot was taken has no parts.
 */
struct passage {
	__u64 skb;
	__u64 tstamp;
	__u64 at[STAGES]; /* CLOCK_MONOTONIC; 0: it was not seen there */
};

#define PASSAGES 2048

struct passage passages[PASSAGES];

/* A copy is a number: the verifier allows no arithmetic with a pointer whose type it knows, as fentry's. */
static __always_inline __u64 address_of(struct sk_buff *skb)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &skb);
	return address;
}

static __always_inline struct passage *slot_of(__u64 address)
{
	/* Packets are more than 128 bytes apart. */
	return &passages[address >> 7 & (PASSAGES - 1)];
}

static __always_inline int passes(struct sk_buff *skb, enum stage stage)
{
	__u64 tstamp = BPF_CORE_READ(skb, tstamp), address;
	struct passage *passage;

	/* Without a timestamp it has no latency either. */
	if (!tstamp)
		return 0;
	address = address_of(skb);
	passage = slot_of(address);
	if (passage->skb != address || passage->tstamp != tstamp) {
		__builtin_memset(passage, 0, sizeof(*passage));
		passage->skb = address;
		passage->tstamp = tstamp;
	}
	/* What a pod sends passes the host's IP layer too, and what is in a tunnel passes it twice: the first counts. */
	if (!passage->at[stage])
		passage->at[stage] = bpf_ktime_get_ns();
	return 0;
}

/* The packet reaches the stage at the entry of a kernel function that has these arguments, the packet as `skb`. */
#define AT_STAGE(stage, function, args...)             \
	AT_ENTRY(function, function, ##args)           \
	{                                              \
		return passes(skb, stage);             \
	}

/* Time from a stage to the next, if it began at `since` or later. */
static __always_inline __u64 part_from(const struct passage *passage, enum stage stage, __u64 since)
{
	__u64 from = passage->at[stage], to = passage->at[stage + 1];

	return from && from >= since && to > from ? to - from : 0;
}

/* The parts of a packet's latency, which is measured from `since` at the earliest. */
static __always_inline void parts_of_packet(struct parts *parts, struct sk_buff *skb, __u64 since)
{
	__u64 address = address_of(skb), tstamp = BPF_CORE_READ(skb, tstamp);
	const struct passage *passage = slot_of(address);

	__builtin_memset(parts, 0, sizeof(*parts));
	if (passage->skb != address || passage->tstamp != tstamp)
		return;
	/* A bridge may look for a route before the IP layer has the packet (br_netfilter). */
	if (passage->at[PREROUTED] >= passage->at[RECEIVED]) {
		parts->prerouting_ns = part_from(passage, RECEIVED, since);
		parts->route_ns = part_from(passage, PREROUTED, since);
	}
	parts->local_in_ns = part_from(passage, ROUTED_HERE, since);
	parts->local_out_ns = part_from(passage, LEAVING, since);
	parts->postrouting_ns = part_from(passage, ROUTED_OUT, since);
}
