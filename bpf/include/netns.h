/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which network namespace a packet or a socket is in. */
#pragma once

#include "probe.h"

/* How events and counters name a network namespace. */
struct netns_id {
	__u64 cookie; /* never used twice */
	__u32 inode;  /* as in /proc/PID/ns/net; used again once a namespace is gone */
};

/*
 * Where there is no cookie (before 5.12), a random number that each namespace has for its hashes (since 5.1,
 * 355b98553789) does as well: one of four thousand million that get the inode of another would get its number too.
 */
static __always_inline struct netns_id netns_id(struct net *net)
{
	struct netns_id id = {};

	id.inode = BPF_CORE_READ(net, ns.inum);
	if (bpf_core_field_exists(net->net_cookie))
		id.cookie = BPF_CORE_READ(net, net_cookie);
	else
		id.cookie = (__u64)BPF_CORE_READ(net, hash_mix) << 32 | id.inode;
	return id;
}

/* Whether a pointer that may be garbage is a namespace: its loopback device points back at it. */
static __always_inline bool is_netns(struct net *net)
{
	return net && BPF_CORE_READ(net, loopback_dev, nd_net.net) == net;
}

static __always_inline struct net *netns_of_device(struct net_device *dev)
{
	return BPF_CORE_READ(dev, nd_net.net);
}

static __always_inline struct net *netns_of_socket(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net);
}

/* The route that a packet holds; the lowest bit of the word says whether it is counted. */
static __always_inline struct dst_entry *route_of_packet(struct sk_buff *skb)
{
	return (struct dst_entry *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);
}

/*
 * Namespace that a packet is in; `rx_sk` is the socket that it was for, or NULL.
 *
 * The device comes first: a packet that crosses a veth keeps the sending socket until the IP layer
 * of the other side removes it, so that a drop in between is the receiver's, not the sender's.
 * skb->dev is a union with bookkeeping of the queues that a packet can sit in, and so is checked.
 */
static __always_inline struct net *netns_of_packet(struct sk_buff *skb, struct sock *rx_sk)
{
	struct net *net = netns_of_device(BPF_CORE_READ(skb, dev));
	struct sock *sk;

	if (is_netns(net))
		return net;
	sk = BPF_CORE_READ(skb, sk);
	if (sk)
		return netns_of_socket(sk);
	if (rx_sk)
		return netns_of_socket(rx_sk);
	net = netns_of_device(BPF_CORE_READ(route_of_packet(skb), dev));
	return is_netns(net) ? net : NULL;
}
