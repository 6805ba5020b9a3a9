// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How long packets take through the kernel: from their receipt to their socket, and from TCP to the device
 * that sends them.
 *
 * The start times are in the packets. Received ones have the wall clock's while anybody in the machine has asked
 * for it (SO_TIMESTAMPNS; user space holds a socket that has), TCP's own the monotonic clock's (4.20). So nothing
 * is stored for that, and a packet that was not slow costs two reads. Only the timestamps between are stored, on
 * kernels that let their functions be watched (receive_timestamps.h).
 */
#include "flow.h"
#include "latency.h"
#include "receive_timestamps.h"

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

EXPORT_LAYOUT(kernellatency_event);

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

/* No packet takes so long: its time is another clock's. */
#define IMPOSSIBLE_NS (3600ULL * NANOSECONDS_PER_SECOND)

static __always_inline bool is_slow_packet(__u32 kind, __u64 latency_ns)
{
	/* A time in the future is a huge number here. */
	return is_slow(kind, latency_ns) && latency_ns < IMPOSSIBLE_NS;
}

/* `departed` is 0 where the packet has another clock's time. */
static __always_inline void emit(struct net *net, __u32 kind, __u64 latency_ns, struct sk_buff *skb,
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

/* Not inlined in the path of all packets, since it rarely runs. */
static __noinline int emit_received(const struct sock *sk, struct sk_buff *skb, __u64 latency_ns)
{
	struct flow flow = {};

	flow_of_packet(&flow, skb);
	emit(netns_of_socket(sk), RECEIVE, latency_ns, skb, &flow, 0);
	return 0;
}

static __always_inline int packet_delivered(const struct sock *sk, struct sk_buff *skb)
{
	__u64 received = BPF_CORE_READ(skb, tstamp), latency;

	if (!received)
		return 0;
	latency = clock_of_receipt() + to_wall_clock - received;
	if (is_slow_packet(RECEIVE, latency))
		emit_received(sk, skb, latency);
	return 0;
}

/* Every segment for an established connection. */
SEC("raw_tp/tcp_probe")
int BPF_PROG(segment_delivered, const struct sock *sk, struct sk_buff *skb)
{
	return packet_delivered(sk, skb);
}

AT_ENTRY(__udp_enqueue_schedule_skb, datagram_delivered, struct sock *sk, struct sk_buff *skb)
{
	return packet_delivered(sk, skb);
}

/* Since 6.3, for any socket; the datagram is the last in its queue, unless a reader was faster. */
SEC("raw_tp/sk_data_ready")
int BPF_PROG(datagram_ready, struct sock *sk)
{
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
AT_STAGE(PREROUTED, tcp_v4_early_demux, struct sk_buff *skb)
AT_STAGE(PREROUTED, udp_v4_early_demux, struct sk_buff *skb)
AT_STAGE(PREROUTED, ip_route_input_noref, struct sk_buff *skb)
/* Used where one of those three cannot be watched; older kernels pass it a socket before the packet. */
AT_STAGE(PREROUTED, ip_rcv_finish_core, struct net *net, struct sk_buff *skb)

AT_STAGE(PREROUTED, tcp_v6_early_demux, struct sk_buff *skb)
AT_STAGE(PREROUTED, udp_v6_early_demux, struct sk_buff *skb)
AT_STAGE(PREROUTED, ip6_route_input, struct sk_buff *skb)

AT_STAGE(RECEIVED, ip_rcv, struct sk_buff *skb)
AT_STAGE(ROUTED_HERE, ip_local_deliver, struct sk_buff *skb)
AT_STAGE(LET_IN, ip_protocol_deliver_rcu, struct net *net, struct sk_buff *skb)

AT_STAGE(RECEIVED, ipv6_rcv, struct sk_buff *skb)
AT_STAGE(ROUTED_HERE, ip6_input, struct sk_buff *skb)
AT_STAGE(LET_IN, ip6_protocol_deliver_rcu, struct net *net, struct sk_buff *skb)

/* --- Transmitting */

#define EMITTED_SLOTS 4096

/* Slow packets whose event was emitted, each by address and time of departure: a packet may pass several devices. */
__u64 emitted[EMITTED_SLOTS];

static __noinline int emit_transmitted(struct sk_buff *skb, struct net_device *dev, __u64 departed, __u64 latency_ns)
{
	__u64 packet = departed ^ (__u64)skb;
	/* Multiplied by the golden ratio (include/linux/hash.h), since addresses of packets differ in few bits. */
	__u64 *slot = &emitted[packet * 0x61C8864680B583EBull >> 52];
	struct flow flow = {};

	if (*slot == packet)
		return 0;
	flow_of_packet(&flow, skb);
	/* Of others, SO_TXTIME says when they shall leave, by whatever clock. */
	if (flow.protocol != IPPROTO_TCP)
		return 0;
	*slot = packet;
	emit(netns_of_device(dev), TRANSMIT, latency_ns, skb, &flow, departed);
	return 0;
}

SEC("raw_tp/net_dev_start_xmit")
int BPF_PROG(segment_transmitted, struct sk_buff *skb, struct net_device *dev)
{
	__u64 departed = BPF_CORE_READ(skb, tstamp), latency;

	if (!departed)
		return 0;
	latency = bpf_ktime_get_ns() - departed;
	if (is_slow_packet(TRANSMIT, latency))
		emit_transmitted(skb, dev, departed, latency);
	return 0;
}

AT_STAGE(LEAVING, __ip_local_out, struct net *net, struct sock *sk, struct sk_buff *skb)
AT_STAGE(ROUTED_OUT, ip_output, struct net *net, struct sock *sk, struct sk_buff *skb)
AT_STAGE(LET_OUT, ip_finish_output, struct net *net, struct sock *sk, struct sk_buff *skb)

/* TCP does not call __ip6_local_out. */
AT_STAGE(LEAVING, ip6_xmit, const struct sock *sk, struct sk_buff *skb)
AT_STAGE(ROUTED_OUT, ip6_output, struct net *net, struct sock *sk, struct sk_buff *skb)
AT_STAGE(LET_OUT, ip6_finish_output, struct net *net, struct sock *sk, struct sk_buff *skb)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
