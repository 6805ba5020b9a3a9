// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Packets that the kernel drops: counted by reason and dropping function, told with the kernel stack. */
#include "event.h"
#include "flow.h"

#define STACK_DEPTH 32
#define REASONS_MAX 256
#define ORDINARY_PLACES_MAX 8

struct packetloss_event {
	struct event_header header; /* kind: enum skb_drop_reason, 0 where the kernel gives none */
	__u64 location;             /* return address in the function that dropped */
	struct flow flow;
	__u32 length;               /* bytes of the packet from the layer on that it was in */
	__u32 stack_bytes;
	__u64 stack[STACK_DEPTH];
};

EVENT_LAYOUT(packetloss_event);

/* Reasons that say nothing of a fault, by number in the running kernel. */
const volatile __u8 harmless_reasons[REASONS_MAX];

/* Start and end of skb_release_data(), where the parts are freed of a packet that was told already. */
const volatile __u64 release_data[2];

/*
 * Functions, by start and end, where a drop without a reason is ordinary. User space knows which
 * (probing/drop_reasons.py); unused places are (0, 0).
 */
const volatile __u64 ordinary_places[ORDINARY_PLACES_MAX][2];

static __always_inline bool is_reset(struct sk_buff *skb)
{
	struct flow flow = {};

	flow_of_packet(&flow, skb);
	return flow.known & FLOW_TCP_FLAGS && flow.tcp_flags & TCP_FLAG_RST;
}

/* Before 6.11 a drop does not tell the socket: the segment that is about to end without loss, on each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ending SEC(".maps");

static __always_inline int ends_in_time_wait(const struct sock *sk, struct sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *here = bpf_map_lookup_elem(&ending, &zero);

	if (here)
		*here = (__u64)skb;
	return 0;
}

static __always_inline int ends_in_syn_recv(const struct sock *sk, struct sk_buff *skb)
{
	return is_reset(skb) ? ends_in_time_wait(sk, skb) : 0;
}

AT_ENTRY_OF(tcp_timewait_state_process, ends_in_time_wait)
AT_ENTRY_OF(tcp_check_req, ends_in_syn_recv)

/* Start and end of the function that frees such segments. */
const volatile __u64 tcp_v4_rcv[2];
const volatile __u64 tcp_v6_rcv[2];

/* True once: the memory of a packet that is freed may be the next packet's. */
static __always_inline bool is_ending(struct sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *here = bpf_map_lookup_elem(&ending, &zero);

	if (!here || *here != (__u64)skb)
		return false;
	*here = 0;
	return true;
}

/*
 * Segments that have done all they could, and are freed as if they had been dropped: each one that
 * meets a socket in TIME_WAIT (every close by the local side ends so), and the reset that ends a
 * half-open connection, which only the listener knows.
 */
static __always_inline bool consumed_by_tcp(struct sk_buff *skb, struct sock *rx_sk, __u64 place)
{
	__u8 state = rx_sk ? BPF_CORE_READ(rx_sk, __sk_common.skc_state) : 0;

	if (!bpf_core_field_exists(((struct trace_event_raw_kfree_skb *)0)->rx_sk))
		return (is_in(place, tcp_v4_rcv) || is_in(place, tcp_v6_rcv)) && is_ending(skb);
	return state == TCP_TIME_WAIT || (state == TCP_LISTEN && is_reset(skb));
}

static __always_inline bool is_ordinary(struct sk_buff *skb, struct sock *rx_sk, const struct occurrence_key *key)
{
	if (key->kind < REASONS_MAX && harmless_reasons[key->kind])
		return true;
	if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED) &&
	    key->kind != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return false;
	for (int i = 0; i < ORDINARY_PLACES_MAX; i++)
		if (is_in(key->place, ordinary_places[i]))
			return true;
	return consumed_by_tcp(skb, rx_sk, key->place);
}

/* Datagrams of AF_UNIX and netlink are socket buffers too, but no packets. */
static __always_inline bool is_packet(struct sk_buff *skb, struct net_device *dev)
{
	struct sock *sk = BPF_CORE_READ(skb, sk);
	__u16 family;

	if (sk) {
		family = BPF_CORE_READ(sk, __sk_common.skc_family);
		if (family == AF_INET || family == AF_INET6)
			return true;
	}
	return is_netns(netns_of_device(dev)) && BPF_CORE_READ(skb, protocol);
}

static __always_inline void send_event(raw_tp_context *context, struct sk_buff *skb, struct sock *rx_sk,
				       struct occurrences *entry, const struct occurrence_key *key,
				       struct netns_id netns, __u64 now)
{
	struct packetloss_event *event = reserve_event(entry, sizeof(*event));
	const struct sock *sk;
	long stack_bytes;

	if (!event)
		return;
	begin_event(&event->header, entry, netns, key->kind, now);
	event->location = key->place;
	event->length = BPF_CORE_READ(skb, len);
	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	flow_of_packet(&event->flow, skb);
	if (!(event->flow.known & (FLOW_ADDRESSES | FLOW_TRUNCATED))) {
		/* Dropped on its way down, before it had headers: its socket knows where it was to go. */
		sk = BPF_CORE_READ(skb, sk);
		if (sk)
			flow_of_socket(&event->flow, sk, BPF_CORE_READ(sk, sk_protocol));
	}
	stack_bytes = bpf_get_stack(context, event->stack, sizeof(event->stack), 0);
	event->stack_bytes = stack_bytes > 0 ? stack_bytes : 0;
	bpf_ringbuf_submit(event, 0);
}

SEC("raw_tp/kfree_skb")
int count_drop(raw_tp_context *context)
{
	struct sk_buff *skb = ARGUMENT(struct sk_buff *, context, 0);
	struct occurrence_key key = { .place = ARGUMENT(__u64, context, 1) };
	struct sock *rx_sk = NULL;
	struct occurrences *entry;
	struct netns_id netns = {};
	struct net *net;
	__u64 now;

	if (is_in(key.place, release_data))
		return 0;
	/* The verifier admits only the arguments that the tracepoint has in the running kernel. */
	if (bpf_core_field_exists(((struct trace_event_raw_kfree_skb *)0)->reason))
		key.kind = ARGUMENT(__u32, context, 2);
	if (bpf_core_field_exists(((struct trace_event_raw_kfree_skb *)0)->rx_sk))
		rx_sk = ARGUMENT(struct sock *, context, 3);
	if (!is_packet(skb, BPF_CORE_READ(skb, dev)) && !rx_sk)
		return 0;

	net = netns_of_packet(skb, rx_sk);
	if (net)
		netns = netns_id(net);
	key.netns_cookie = netns.cookie;
	key.netns_inode = netns.inode;
	key.harmless = is_ordinary(skb, rx_sk, &key);
	now = bpf_ktime_get_ns();
	entry = count_occurrence(&key, now);
	if (entry)
		send_event(context, skb, rx_sk, entry, &key, netns, now);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
