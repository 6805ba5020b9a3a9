/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * When a packet came where in the IP layer, on kernels that let the entries of their functions be watched. What
 * lies between two such hops is a part of the packet's latency.
 *
 * Packets that a driver hands over in lists (ip_list_rcv) are seen from PREROUTED on.
 */
#pragma once

#include "probe.h"

enum hop {
	RECEIVED,    /* netfilter's PREROUTING follows */
	PREROUTED,   /* ... the search for a route */
	ROUTED_HERE, /* ... LOCAL_IN */
	LET_IN,      /* ... the transport protocol */
	LEAVING,     /* ... LOCAL_OUT */
	ROUTED_OUT,  /* ... POSTROUTING */
	LET_OUT,     /* ... the neighbour and the device */
	HOPS,
};

/* Parts of a latency; 0: not known. */
struct parts {
	__u64 prerouting_ns;
	__u64 route_ns;
	__u64 local_in_ns;
	__u64 local_out_ns;
	__u64 postrouting_ns;
};

/*
 * A packet on its way: known by its address together with the time that it bears, since addresses come again. The
 * slot is the newest one's; whose slot was taken has no parts.
 */
struct passage {
	__u64 skb;
	__u64 tstamp;
	__u64 at[HOPS]; /* CLOCK_MONOTONIC; 0: it was not seen there */
};

#define PASSAGES 2048

struct passage passages[PASSAGES];

/* A copy is a number: the verifier lets nobody compute with a pointer that it knows the type of, as fentry's. */
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

static __always_inline int passes(struct sk_buff *skb, enum hop hop)
{
	__u64 tstamp = BPF_CORE_READ(skb, tstamp), address;
	struct passage *passage;

	/* Without a time it has no latency either. */
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
	if (!passage->at[hop])
		passage->at[hop] = bpf_ktime_get_ns();
	return 0;
}

/* A program at the entry of a kernel function whose nth argument is a packet, in two forms as AT_ENTRY_OF. */
#define AT_HOP(function, nth, hop)                                                                      \
	SEC("fentry/" #function)                                                                        \
	int function##_fentry(__u64 *arguments)                                                         \
	{                                                                                               \
		return passes((struct sk_buff *)arguments[(nth) - 1], hop);                             \
	}                                                                                               \
	SEC("kprobe/" #function)                                                                        \
	int function##_kprobe(struct pt_regs *registers)                                                \
	{                                                                                               \
		return passes((struct sk_buff *)PT_REGS_PARM##nth(registers), hop);                     \
	}

/* Time from a hop to the next, if it began at `since` or later. */
static __always_inline __u64 part_from(const struct passage *passage, enum hop hop, __u64 since)
{
	__u64 from = passage->at[hop], to = passage->at[hop + 1];

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
