// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How long packets that are sent stay at a network interface: in its queueing discipline, and in its
 * driver's transmit function.
 */
#include "flow.h"
#include "latency.h"

enum netiftx_latency {
	QDISC,
	XMIT,
};

struct netiftxlat_event {
	struct event_header header; /* kind: enum netiftx_latency */
	struct flow flow;
	__u64 latency_ns;
	__u8 interface[IFNAMSIZ];
};

EXPORT_LAYOUT(netiftxlat_event);

static __always_inline struct netiftxlat_event *begin_slow(struct net_device *dev, __u32 kind, __u64 now,
							   __u64 latency_ns)
{
	struct netns_id netns = netns_id(netns_of_device(dev));
	struct occurrences *entry = count_latency(netns, kind, now, latency_ns);
	struct netiftxlat_event *event;

	if (!entry)
		return NULL;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return NULL;
	begin_event(&event->header, entry, netns, kind, now);
	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	event->latency_ns = latency_ns;
	BPF_CORE_READ_INTO(&event->interface, dev, name);
	return event;
}

/* --- In the queueing discipline */

/*
 * When a packet came to its device, by the packet's address. Entries are used again and not removed: addresses
 * come again soon, and finding one costs a fraction of making it. A packet that is dropped in its queue
 * leaves its entry, and so does one that passes an empty queue by; the oldest make room.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, __u64); /* 0: it has left */
} queued_since SEC(".maps");

#define TCQ_F_MQROOT 8 /* include/net/sch_generic.h: a queue for each of the device's, below this one */

/* Most devices of pods have no queue; their packets are passed over here. */
static __always_inline bool has_queue(struct net_device *dev)
{
	struct Qdisc *qdisc = BPF_CORE_READ(dev, qdisc);

	return BPF_CORE_READ(qdisc, enqueue) || BPF_CORE_READ(qdisc, flags) & TCQ_F_MQROOT;
}

SEC("raw_tp/net_dev_queue")
int BPF_PROG(packet_queued, struct sk_buff *skb)
{
	__u64 address = (__u64)skb, now, *since;

	if (!has_queue(BPF_CORE_READ(skb, dev)))
		return 0;
	now = bpf_ktime_get_ns();
	since = bpf_map_lookup_elem(&queued_since, &address);
	if (since)
		*since = now;
	else
		bpf_map_update_elem(&queued_since, &address, &now, BPF_ANY);
	return 0;
}

/*
 * Global, so that it is verified once and not again in each round of the loop below: 5.10 gave up after a million
 * instructions. The address of a packet is a number here, since a global function accepts no such pointer.
 */
__noinline int emit_queued(__u64 packet, __u64 now, __u64 latency_ns)
{
	struct sk_buff *skb = (struct sk_buff *)packet;
	struct netiftxlat_event *event = begin_slow(BPF_CORE_READ(skb, dev), QDISC, now, latency_ns);

	if (!event)
		return 0;
	flow_of_packet(&event->flow, skb);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* A queue gives several packets at once where the driver accepts that (try_bulk_dequeue_skb). */
#define BULK_MAX 128

SEC("raw_tp/qdisc_dequeue")
int BPF_PROG(packets_dequeued, struct Qdisc *qdisc, const void *queue, int packets, struct sk_buff *skb)
{
	__u64 now = bpf_ktime_get_ns(), address, *since;

	for (int i = 0; i < BULK_MAX && skb; i++) {
		address = (__u64)skb;
		since = bpf_map_lookup_elem(&queued_since, &address);
		if (since && *since) {
			if (is_slow(QDISC, now - *since))
				emit_queued(address, now, now - *since);
			*since = 0;
		}
		skb = BPF_CORE_READ(skb, next);
	}
	return 0;
}

/* --- In the driver */

#define HEADERS_MAX 96

struct transmission {
	struct net_device *dev;
	__u64 began;
	__u64 within; /* of that, the time in other devices' drivers */
	__u32 length; /* of the headers */
	__u8 headers[HEADERS_MAX]; /* the driver may free the packet */
};

/*
 * Drivers of virtual devices send through other devices: the transmissions in progress on this CPU, the innermost
 * last. The time of a driver is its own, without that of those within.
 */
#define NESTED_MAX 8

struct transmissions {
	__u32 depth;
	struct transmission nested[NESTED_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct transmissions);
} in_progress SEC(".maps");

static __always_inline struct transmissions *transmissions_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&in_progress, &zero);
}

static __always_inline void keep_headers(struct transmission *transmission, struct sk_buff *skb)
{
	__u32 network = BPF_CORE_READ(skb, network_header);
	__u32 length = BPF_CORE_READ(skb, tail) - network;

	if (length > HEADERS_MAX)
		length = HEADERS_MAX;
	transmission->length =
		bpf_probe_read_kernel(transmission->headers, length, BPF_CORE_READ(skb, head) + network) ? 0 : length;
}

SEC("raw_tp/net_dev_start_xmit")
int BPF_PROG(transmission_begins, struct sk_buff *skb, struct net_device *dev)
{
	struct transmissions *here = transmissions_here();
	struct transmission *transmission;
	__u64 address = (__u64)skb, *since;

	/* What passes an empty queue by is never dequeued; nor must a packet that is later at its address have waited. */
	since = bpf_map_lookup_elem(&queued_since, &address);
	if (since)
		*since = 0;
	if (!here)
		return 0;
	/* Deeper than the kernel goes: the ends of some were missed. */
	if (here->depth >= NESTED_MAX)
		here->depth = 0;
	transmission = &here->nested[here->depth++ & (NESTED_MAX - 1)];
	transmission->dev = dev;
	transmission->within = 0;
	keep_headers(transmission, skb);
	transmission->began = bpf_ktime_get_ns();
	return 0;
}

static __noinline int emit_transmitted(struct transmission *transmission, __u64 now, __u64 latency_ns)
{
	struct netiftxlat_event *event = begin_slow(transmission->dev, XMIT, now, latency_ns);
	struct header_bytes headers = { .start = transmission->headers, .length = transmission->length };

	if (!event)
		return 0;
	if (transmission->headers[0] >> 4 == 4)
		read_ipv4(&event->flow, &headers);
	else if (transmission->headers[0] >> 4 == 6)
		read_ipv6(&event->flow, &headers);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("raw_tp/net_dev_xmit")
int BPF_PROG(transmission_ends, struct sk_buff *skb, int code, struct net_device *dev)
{
	struct transmissions *here = transmissions_here();
	struct transmission *transmission;
	__u64 elapsed, own, now;

	if (!here || !here->depth)
		return 0;
	transmission = &here->nested[--here->depth & (NESTED_MAX - 1)];
	/* Not the one that began last: what is here is useless now. */
	if (transmission->dev != dev) {
		here->depth = 0;
		return 0;
	}
	now = bpf_ktime_get_ns();
	elapsed = now - transmission->began;
	own = elapsed - transmission->within;
	if (here->depth)
		here->nested[(here->depth - 1) & (NESTED_MAX - 1)].within += elapsed;
	if (is_slow(XMIT, own))
		emit_transmitted(transmission, now, own);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
