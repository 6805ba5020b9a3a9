/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Drops that are expected, and no fault: what the kernel frees so all day long, and nobody waits for. */
#pragma once

#include "consumed_ack.h"
#include "ending.h"

#define REASONS_MAX 256
#define EXPECTED_FUNCTIONS_MAX 10
#define GROUP_FUNCTIONS_MAX 10

/* Reasons that say nothing of a fault, by number in the running kernel. */
const volatile __u8 expected_reasons[REASONS_MAX];

/* Functions where a drop without a reason is expected. User space knows which (probing/drop_reasons.py). */
const volatile __u64 expected_functions[EXPECTED_FUNCTIONS_MAX][SPAN_PARTS][2];

/* Functions where it is, of what was sent to a group or to all. */
const volatile __u64 group_functions[GROUP_FUNCTIONS_MAX][SPAN_PARTS][2];

const volatile __u64 icmp_rcv[SPAN_PARTS][2];

static __always_inline bool is_in_expected_function(__u64 location)
{
	for (int i = 0; i < EXPECTED_FUNCTIONS_MAX; i++)
		if (is_in(location, expected_functions[i]))
			return true;
	return false;
}

#define PROTOCOL_AT 9     /* RFC 791, 3.1 */
#define NEXT_HEADER_AT 6  /* RFC 8200, 3 */
#define ICMP_ECHO_REPLY 0 /* RFC 792 */
#define ICMPV6_ECHO_REPLY 129 /* RFC 4443, 4.2 */

static __always_inline bool is_echo_reply(struct sk_buff *skb)
{
	bool ipv6 = BPF_CORE_READ(skb, protocol) == bpf_htons(ETH_P_IPV6);
	unsigned char *head = BPF_CORE_READ(skb, head);
	unsigned char *ip = head + BPF_CORE_READ(skb, network_header);
	__u8 protocol = 0, type = 255;

	bpf_probe_read_kernel(&protocol, sizeof(protocol), ip + (ipv6 ? NEXT_HEADER_AT : PROTOCOL_AT));
	bpf_probe_read_kernel(&type, sizeof(type), head + BPF_CORE_READ(skb, transport_header));
	return ipv6 ? protocol == IPPROTO_ICMPV6 && type == ICMPV6_ECHO_REPLY :
		      protocol == IPPROTO_ICMP && type == ICMP_ECHO_REPLY;
}

/*
 * The answer to a ping. A program that pings with a raw socket has received a copy, and no other socket wants the
 * original. The kernel lets only root ping so, and a new namespace has no other way (net.ipv4.ping_group_range).
 */
static __always_inline bool answers_ping(const struct drop *drop)
{
	/* Before 5.18 there is no reason, and the function says it. */
	return (IS_FOR(drop, NO_SOCKET) || (is_unexplained(drop) && is_in(drop->location, icmp_rcv))) &&
	       is_echo_reply(drop->skb);
}

/* include/uapi/linux/if_packet.h; the last is the sender's own copy */
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2
#define PACKET_LOOPBACK 5

/* Multicast that nobody here has joined, or broadcast to a port at which nobody listens. */
static __always_inline bool is_for_others(const struct drop *drop)
{
	__u8 type = BPF_CORE_READ_BITFIELD_PROBED(drop->skb, pkt_type);

	if (type != PACKET_BROADCAST && type != PACKET_MULTICAST && type != PACKET_LOOPBACK)
		return false;
	for (int i = 0; i < GROUP_FUNCTIONS_MAX; i++)
		if (is_in(drop->location, group_functions[i]))
			return true;
	return false;
}

static __always_inline bool is_expected_reason(__u32 reason)
{
	/* The register that is compared must be the one that is used: the verifier knows nothing of its copies. */
	barrier_var(reason);
	return reason < REASONS_MAX && expected_reasons[reason];
}

static __always_inline bool is_expected(const struct drop *drop)
{
	if (is_expected_reason(drop->reason))
		return true;
	if (answers_ping(drop) || is_consumed_ack(drop))
		return true;
	return is_unexplained(drop) && (is_in_expected_function(drop->location) || is_for_others(drop) ||
					ends_in_time_wait(drop) || resets_request(drop));
}
