/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Segments that have done all they could, and that tcp_v4_rcv() and tcp_v6_rcv() free as if they were
 * dropped: what meets a socket in TIME_WAIT, and the reset that ends a half-open connection.
 *
 * An object that includes this file has a program at kfree_skb, and, for kernels whose drops do not name the
 * socket, programs at the entry of two functions: probing/ending.py has the hooks.
 */
#pragma once

#include "flow.h"

const volatile __u64 tcp_v4_rcv[SPAN_PARTS][2];
const volatile __u64 tcp_v6_rcv[SPAN_PARTS][2];

static __always_inline bool is_in_tcp_rcv(__u64 location)
{
	return is_in(location, tcp_v4_rcv) || is_in(location, tcp_v6_rcv);
}

/* The segment and the socket that met last, on each CPU. */
struct meeting {
	__u64 skb;
	__u64 sk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meeting);
} last_meeting SEC(".maps");

static __always_inline void remember_meeting(void *meetings, const void *sk, struct sk_buff *skb)
{
	__u32 zero = 0;
	struct meeting *meeting = bpf_map_lookup_elem(meetings, &zero);

	if (meeting) {
		meeting->skb = (__u64)skb;
		meeting->sk = (__u64)sk;
	}
}

/* What a segment met, or NULL. Once: the memory of a packet that is freed may be the next packet's. */
static __always_inline void *recall_meeting(void *meetings, struct sk_buff *skb)
{
	__u32 zero = 0;
	struct meeting *meeting = bpf_map_lookup_elem(meetings, &zero);

	if (!meeting || meeting->skb != (__u64)skb)
		return NULL;
	meeting->skb = 0;
	return (void *)meeting->sk;
}

AT_ENTRY(tcp_timewait_state_process, meets_time_wait, struct inet_timewait_sock *sk, struct sk_buff *skb)
{
	remember_meeting(&last_meeting, sk, skb);
	return 0;
}

static __always_inline bool is_reset(struct sk_buff *skb)
{
	struct flow flow = {};

	flow_of_packet(&flow, skb);
	return has_tcp_flags(&flow, TCP_FLAG_RST);
}

AT_ENTRY(tcp_check_req, meets_request, struct sock *listener, struct sk_buff *skb)
{
	if (is_reset(skb))
		remember_meeting(&last_meeting, listener, skb);
	return 0;
}

/* What kfree_skb reports. */
struct drop {
	struct sk_buff *skb;
	__u64 location;  /* return address in the function that dropped */
	__u32 reason;    /* enum skb_drop_reason; 0 before 5.17 */
	struct sock *sk; /* that the packet was for, as far as that is known, or NULL */
};

static __always_inline struct sock *socket_met(struct sk_buff *skb, __u64 location)
{
	return is_in_tcp_rcv(location) ? recall_meeting(&last_meeting, skb) : NULL;
}

/* From the arguments that all kernels pass, and those that only some do. */
static __always_inline struct drop read_drop(__u64 *ctx, struct sk_buff *skb, void *location)
{
	struct drop drop = { .skb = skb, .location = (__u64)location };

	if (bpf_core_field_exists(((struct trace_event_raw_kfree_skb *)0)->reason))
		drop.reason = ARGUMENT(__u32, ctx, 2);
	if (bpf_core_field_exists(((struct trace_event_raw_kfree_skb *)0)->rx_sk))
		drop.sk = ARGUMENT(struct sock *, ctx, 3);
	else
		drop.sk = socket_met(skb, drop.location);
	return drop;
}

/* Whether the kernel gives this reason. */
#define IS_FOR(drop, name)                                                                   \
	(bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_##name) &&         \
	 (drop)->reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_##name))

/* Whether the kernel gives no reason: so it frees what it has not dropped, and some of what it has. */
static __always_inline bool is_unexplained(const struct drop *drop)
{
	return !bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED) ||
	       IS_FOR(drop, NOT_SPECIFIED);
}

static __always_inline bool is_in_state(const struct sock *sk, enum tcp_state state)
{
	return sk && BPF_CORE_READ(sk, __sk_common.skc_state) == state;
}

static __always_inline bool ends_in_time_wait(const struct drop *drop)
{
	return is_unexplained(drop) && is_in_state(drop->sk, TCP_TIME_WAIT);
}

/* The half-open connection is known to its listener only. */
static __always_inline bool resets_request(const struct drop *drop)
{
	return is_unexplained(drop) && is_in_tcp_rcv(drop->location) && is_in_state(drop->sk, TCP_LISTEN) &&
	       is_reset(drop->skb);
}
