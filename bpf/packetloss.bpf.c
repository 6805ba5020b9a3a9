// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Packets that the kernel drops: counted by reason and call site; events have the kernel stack. */
#define OCCURRENCES_MAX 16384 /* each reason at each call site has its own */
#define EVENTS_BYTES (1 << 20) /* 2,900 events, since each has its stack */

#include "event.h"
#include "expected.h"

#define STACK_DEPTH 32

struct packetloss_event {
	struct event_header header; /* kind: enum skb_drop_reason, 0 where the kernel gives none */
	__u64 location;             /* return address in the function that dropped */
	struct flow flow;
	__u32 expected;
	__u32 tcp_sequence;         /* where the flow has TCP flags */
	__u32 length;               /* bytes of the packet from the layer on that it was in */
	__u32 stack_bytes;
	__u64 stack[STACK_DEPTH];
};

EXPORT_LAYOUT(packetloss_event);

/* skb_release_data(), where the parts of a packet are freed that was counted before. */
const volatile __u64 release_data[SPAN_PARTS][2];

/*
 * Datagrams of AF_UNIX and netlink are socket buffers too, but no packets. A TCP segment whose socket is
 * found has neither device nor socket any more (tcp_v4_rcv): it is known by its protocol.
 */
static __always_inline bool is_packet(struct sk_buff *skb)
{
	__u16 protocol = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	struct sock *sk = BPF_CORE_READ(skb, sk);
	__u16 family;

	if (protocol == ETH_P_IP || protocol == ETH_P_IPV6)
		return true;
	if (sk) {
		family = BPF_CORE_READ(sk, __sk_common.skc_family);
		if (family == AF_INET || family == AF_INET6)
			return true;
	}
	return protocol && is_netns(netns_of_device(BPF_CORE_READ(skb, dev)));
}

static __always_inline void write_flow(struct packetloss_event *event, struct sk_buff *skb)
{
	const struct sock *sk = BPF_CORE_READ(skb, sk);
	const unsigned char *transport;
	__be32 sequence = 0;

	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	transport = flow_of_packet(&event->flow, skb);
	if (event->flow.known & FLOW_TCP_FLAGS)
		bpf_probe_read_kernel(&sequence, sizeof(sequence), transport + offsetof(struct tcp_header, sequence));
	event->tcp_sequence = bpf_ntohl(sequence);
	/* Dropped when it was sent, before it had headers: its socket knows its destination. */
	if (sk && !(event->flow.known & (FLOW_ADDRESSES | FLOW_TRUNCATED)))
		flow_of_socket(&event->flow, sk, BPF_CORE_READ(sk, sk_protocol));
}

static __always_inline void emit(__u64 *ctx, const struct drop *drop, struct occurrences *entry,
				 const struct occurrence_key *key, struct netns_id netns, __u64 now)
{
	struct packetloss_event *event = reserve_event(entry, sizeof(*event));
	struct sk_buff *skb = drop->skb;
	long stack_bytes;

	if (!event)
		return;
	begin_event(&event->header, entry, netns, key->kind, now);
	event->location = key->location;
	event->expected = key->expected;
	event->length = BPF_CORE_READ(skb, len);
	write_flow(event, skb);
	stack_bytes = bpf_get_stack(ctx, event->stack, sizeof(event->stack), 0);
	event->stack_bytes = stack_bytes > 0 ? stack_bytes : 0;
	bpf_ringbuf_submit(event, 0);
}

SEC("raw_tp/kfree_skb")
int BPF_PROG(count_drop, struct sk_buff *skb, void *location)
{
	struct drop drop = read_drop(ctx, skb, location);
	struct occurrence_key key = { .location = drop.location, .kind = drop.reason };
	struct occurrences *entry;
	struct netns_id netns = {};
	struct net *net;
	__u64 now;

	if (is_in(drop.location, release_data))
		return 0;
	if (!is_packet(skb) && !drop.sk)
		return 0;

	net = netns_of_packet(skb, drop.sk);
	if (net)
		netns = netns_id(net);
	key.netns_cookie = netns.cookie;
	key.netns_inode = netns.inode;
	key.expected = is_expected(&drop);
	now = bpf_ktime_get_ns();
	entry = count_occurrence(&key, now);
	if (entry)
		emit(ctx, &drop, entry, &key, netns, now);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
