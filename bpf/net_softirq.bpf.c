// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Network softirqs: how long each waited to be run, and how long it ran.
 *
 * All of this happens on one CPU: softirqs do not nest, and what raises one has interrupts off. What is kept is
 * the CPU's own, so nothing is shared in the path of every packet.
 */
#include "delay.h"
#include "histogram.h"

/* Numbers of softirqs (include/linux/interrupt.h); trace events show them. */
#define NET_TX_SOFTIRQ 2
#define NET_RX_SOFTIRQ 3

enum delay_kind {
	WAITED,
	WAITED_100MS,
	RAN,
	RAN_100MS,
};

struct net_softirq_event {
	struct event_header header; /* kind: enum delay_kind */
	struct delay delay;         /* the process is the one that the softirq interrupted */
	__u32 vector;
};

EXPORT_LAYOUT(net_softirq_event);

/* Durations above which an event is emitted; all are counted. Set at any time, and no event is emitted until then. */
__u64 waited_event_above_ns = NEVER, ran_event_above_ns = NEVER;

struct softirq {
	__u64 raised;  /* for the first time since it ran last; 0: not, or before we watched */
	__u64 started; /* 0: it does not run */
	struct histogram waited;
	struct histogram ran;
};

/* By vector, from NET_TX_SOFTIRQ on. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct softirq);
} softirqs SEC(".maps");

/* This CPU's; NULL for vectors that are not of the network. */
static __always_inline struct softirq *softirq_of(__u32 vector)
{
	__u32 key = vector - NET_TX_SOFTIRQ;

	return key <= NET_RX_SOFTIRQ - NET_TX_SOFTIRQ ? bpf_map_lookup_elem(&softirqs, &key) : NULL;
}

/* Not inlined in the path of all softirqs, since it rarely runs. */
static __noinline int emit(__u32 slow, __u32 vector, __u64 now, __u64 latency_ns)
{
	__u32 kind = kind_of_delay(slow, latency_ns);
	struct occurrences *entry = count_delay(kind, now);
	struct net_softirq_event *event;

	if (!entry)
		return 0;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return 0;
	begin_delay(&event->header, &event->delay, entry, kind, now, latency_ns);
	event->vector = vector;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("raw_tp/softirq_entry")
int BPF_PROG(softirq_entry, __u32 vector)
{
	struct softirq *softirq = softirq_of(vector);
	__u64 now, waited;

	if (!softirq)
		return 0;
	now = bpf_ktime_get_ns();
	softirq->started = now;
	if (!softirq->raised)
		return 0;
	waited = now - softirq->raised;
	softirq->raised = 0;
	observe_alone(&softirq->waited, waited);
	if (waited > waited_event_above_ns)
		emit(WAITED, vector, now, waited);
	return 0;
}

SEC("raw_tp/softirq_exit")
int BPF_PROG(softirq_exit, __u32 vector)
{
	struct softirq *softirq = softirq_of(vector);
	__u64 now, ran;

	if (!softirq || !softirq->started)
		return 0;
	now = bpf_ktime_get_ns();
	ran = now - softirq->started;
	softirq->started = 0;
	observe_alone(&softirq->ran, ran);
	if (ran > ran_event_above_ns)
		emit(RAN, vector, now, ran);
	return 0;
}

/*
 * Of several raises the first counts: the softirq is pending since. Where one falls between the moment at which the
 * kernel takes all pending softirqs (which no event shows) and the entry of its own, the softirq runs once
 * more: of that second run it is not known how long it waited, and no wait is counted.
 */
SEC("raw_tp/softirq_raise")
int BPF_PROG(softirq_raise, __u32 vector)
{
	struct softirq *softirq = softirq_of(vector);

	if (softirq && !softirq->raised)
		softirq->raised = bpf_ktime_get_ns();
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
