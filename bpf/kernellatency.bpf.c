// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How long packets are on their way through the kernel: from their receipt to their socket, and from TCP to
 * the device that sends them.
 *
 * The times at which they set out are in the packets. Received ones bear the wall clock's while anybody in the
 * machine has asked for it (SO_TIMESTAMPNS; user space holds a socket that has), TCP's own the monotonic clock's
 * (4.20). So nothing is kept for that, and a packet that was not slow is done with after two reads. Only where
 * it passed when is noted meanwhile, on kernels that let their functions be watched (hops.h).
 */
#include "flow.h"
#include "hops.h"
#include "latency.h"

enum kernel_latency {
	RECEIVE,
	TRANSMIT,
};

struct kernellatency_event {
	struct event_header header; /* kind: enum kernel_latency */
	struct flow flow;
	__u64 latency_ns;
	struct parts parts;
};

EVENT_LAYOUT(kernellatency_event);

/* What to add to clock_of_receipt() for the wall clock; kept right by user space. */
__u64 to_wall_clock;

/*
 * TAI follows the wall clock's steps, and differs from it by seconds that hardly ever change. Without it (before
 * 6.1) the difference to the monotonic clock is wrong after a step, until user space has seen that.
 */
static __always_inline __u64 clock_of_receipt(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_tai_ns))
		return bpf_ktime_get_tai_ns();
	return bpf_ktime_get_ns();
}

/* No packet is under way for so long: its time is another clock's. */
#define IMPOSSIBLE_NS (3600ULL * NANOSECONDS_PER_SECOND)

static __always_inline bool is_slow_packet(__u32 kind, __u64 latency_ns)
{
	/* A time to come is a huge number here. */
	return is_slow(kind, latency_ns) && latency_ns < IMPOSSIBLE_NS;
}

/* `departed` is 0 where the packet bears another clock's time. */
static __always_inline void tell(struct net *net, __u32 kind, __u64 latency_ns, struct sk_buff *skb,
				 const struct flow *flow, __u64 departed)
{
	__u64 now = bpf_ktime_get_ns();
	struct netns_id netns = netns_id(net);
	struct occurrences *entry = count_latency(netns, kind, now, latency_ns);
	struct kernellatency_event *event;

	if (!entry)
		return;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return;
	begin_event(&event->header, entry, netns, kind, now);
	event->flow = *flow;
	event->latency_ns = latency_ns;
	parts_of_packet(&event->parts, skb, departed);
	bpf_ringbuf_submit(event, 0);
}

/* --- Receiving */

/* Apart from the way of all packets, since it is rarely gone. */
static __noinline int tell_received(const struct sock *sk, struct sk_buff *skb, __u64 latency_ns)
{
	struct flow flow = {};

	flow_of_packet(&flow, skb);
	tell(netns_of_socket(sk), RECEIVE, latency_ns, skb, &flow, 0);
	return 0;
}

static __always_inline int packet_delivered(const struct sock *sk, struct sk_buff *skb)
{
	__u64 received = BPF_CORE_READ(skb, tstamp), latency;

	if (!received)
		return 0;
	latency = clock_of_receipt() + to_wall_clock - received;
	if (is_slow_packet(RECEIVE, latency))
		tell_received(sk, skb, latency);
	return 0;
}

/* Every segment for an established connection. */
SEC("raw_tp/tcp_probe")
int segment_delivered(raw_tp_context *context)
{
	return packet_delivered(ARGUMENT(const struct sock *, context, 0), ARGUMENT(struct sk_buff *, context, 1));
}

static __always_inline int datagram_delivered(const struct sock *sk, struct sk_buff *skb)
{
	return packet_delivered(sk, skb);
}

AT_ENTRY_OF(__udp_enqueue_schedule_skb, datagram_delivered)

/* Since 6.3, for any socket; the datagram is the last in its queue, unless a reader was faster. */
SEC("raw_tp/sk_data_ready")
int datagram_ready(raw_tp_context *context)
{
	struct sock *sk = ARGUMENT(struct sock *, context, 0);
	struct sk_buff_head *queue = &sk->sk_receive_queue;
	struct sk_buff *last;
	__u16 family;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return 0;
	/* Netlink's protocols have the same numbers. */
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	last = BPF_CORE_READ(sk, sk_receive_queue.prev);
	return last == (struct sk_buff *)queue ? 0 : packet_delivered(sk, last);
}

/*
 * Compilers put ip_rcv_finish into ip_rcv. What it calls first is watched instead: a connection's socket may know the
 * route, else it is looked up. After 6.18 (7.2 seen) the search for that socket is inlined too; what it is inlined into
 * has a name of its own for IPv4 alone, and so TCP's packets over IPv6 are not seen there.
 */
AT_HOP(tcp_v4_early_demux, 1, PREROUTED)
AT_HOP(udp_v4_early_demux, 1, PREROUTED)
AT_HOP(ip_route_input_noref, 1, PREROUTED)
/* Asked for where those three are not to be had; older kernels give it a socket before the packet. */
AT_HOP(ip_rcv_finish_core, 2, PREROUTED)

AT_HOP(tcp_v6_early_demux, 1, PREROUTED)
AT_HOP(udp_v6_early_demux, 1, PREROUTED)
AT_HOP(ip6_route_input, 1, PREROUTED)

AT_HOP(ip_rcv, 1, RECEIVED)
AT_HOP(ip_local_deliver, 1, ROUTED_HERE)
AT_HOP(ip_protocol_deliver_rcu, 2, LET_IN)

AT_HOP(ipv6_rcv, 1, RECEIVED)
AT_HOP(ip6_input, 1, ROUTED_HERE)
AT_HOP(ip6_protocol_deliver_rcu, 2, LET_IN)

/* --- Transmitting */

#define TOLD_SLOTS 4096

/* Slow packets that were told, each by address and time of departure: one passes a device after another on its way. */
__u64 told[TOLD_SLOTS];

static __noinline int tell_transmitted(struct sk_buff *skb, struct net_device *dev, __u64 departed, __u64 latency_ns)
{
	__u64 packet = departed ^ (__u64)skb;
	/* Multiplied by the golden ratio (include/linux/hash.h), since addresses of packets differ in few bits. */
	__u64 *slot = &told[packet * 0x61C8864680B583EBull >> 52];
	struct flow flow = {};

	if (*slot == packet)
		return 0;
	flow_of_packet(&flow, skb);
	/* Of others, SO_TXTIME says when they shall leave, by whatever clock. */
	if (flow.protocol != IPPROTO_TCP)
		return 0;
	*slot = packet;
	tell(netns_of_device(dev), TRANSMIT, latency_ns, skb, &flow, departed);
	return 0;
}

SEC("raw_tp/net_dev_start_xmit")
int segment_transmitted(raw_tp_context *context)
{
	struct sk_buff *skb = ARGUMENT(struct sk_buff *, context, 0);
	__u64 departed = BPF_CORE_READ(skb, tstamp), latency;

	if (!departed)
		return 0;
	latency = bpf_ktime_get_ns() - departed;
	if (is_slow_packet(TRANSMIT, latency))
		tell_transmitted(skb, ARGUMENT(struct net_device *, context, 1), departed, latency);
	return 0;
}

AT_HOP(__ip_local_out, 3, LEAVING)
AT_HOP(ip_output, 3, ROUTED_OUT)
AT_HOP(ip_finish_output, 3, LET_OUT)

/* TCP's way past __ip6_local_out. */
AT_HOP(ip6_xmit, 2, LEAVING)
AT_HOP(ip6_output, 3, ROUTED_OUT)
AT_HOP(ip6_finish_output, 3, LET_OUT)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
