// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TCP resets, sent and received.
 *
 * The source of the flow is the local end of the socket. Where there is none (RESET_NO_SOCKET), the flow is that of
 * the segment that was answered, as it came in.
 */
#include "ending.h"
#include "event.h"

enum reset_kind {
	RESET_NO_SOCKET,
	RESET_ACTIVE,
	RESET_PROCESS,
	RESET_RECEIVED_SYN,
	RESET_RECEIVED_ESTABLISHED,
	RESET_RECEIVED_CLOSING,
};

struct tcpreset_event {
	struct event_header header; /* kind: enum reset_kind */
	struct flow flow;
	__u32 state;  /* enum tcp_state of the socket; 0 where there is none */
	__u32 reason; /* enum sk_rst_reason, of resets sent; 0 where the kernel gives none (before 6.10) */
	__u32 pid;    /* of the program that closed the socket, and its name; 0 where no program did */
	__u8 command[TASK_COMM_LEN];
};

EXPORT_LAYOUT(tcpreset_event);

/*
 * The last state that a socket left for CLOSE. When the kernel resets a connection that a program
 * closes, the socket is in CLOSE already; the state before is what the event reports.
 *
 * A direct-mapped table: a slot holds the socket's address, without its highest byte, and the state,
 * in one word, so that it is never half written. Where the slot has another socket's address, the state
 * is unknown. That is cheaper than a hash table, since every connection that closes comes here.
 */
#define CLOSED_SLOTS 4096

__u64 closed_from[CLOSED_SLOTS];

static __always_inline __u64 *closed_slot(const struct sock *sk)
{
	/* Sockets are more than 512 bytes apart. */
	return &closed_from[(__u64)sk >> 9 & (CLOSED_SLOTS - 1)];
}

SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(remember_state, const struct sock *sk, __u8 old_state, int new_state)
{
	if (new_state == TCP_CLOSE)
		*closed_slot(sk) = (__u64)sk << 8 | old_state;
	return 0;
}

static __always_inline __u32 state_of(const struct sock *sk)
{
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	__u64 closed;

	if (state != TCP_CLOSE)
		return state;
	closed = *closed_slot(sk);
	return closed >> 8 == ((__u64)sk << 8) >> 8 ? closed & 0xff : state;
}

/* Count a reset in a namespace; the event to be filled in and submitted, or NULL. */
static __always_inline struct tcpreset_event *begin_reset(struct net *net, enum reset_kind kind)
{
	struct netns_id netns = netns_id(net);
	struct occurrence_key key = { .netns_cookie = netns.cookie, .netns_inode = netns.inode, .kind = kind };
	__u64 now = bpf_ktime_get_ns();
	struct occurrences *entry = count_occurrence(&key, now);
	struct tcpreset_event *event;

	if (!entry)
		return NULL;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return NULL;
	begin_event(&event->header, entry, netns, kind, now);
	__builtin_memset(&event->flow, 0, sizeof(*event) - offsetof(struct tcpreset_event, flow));
	return event;
}

/* Turn a flow round: what came in is reported from the local end. */
static __always_inline void reverse(struct flow *flow)
{
	struct flow original = *flow;

	__builtin_memcpy(flow->saddr, original.daddr, sizeof(flow->saddr));
	__builtin_memcpy(flow->daddr, original.saddr, sizeof(flow->daddr));
	flow->sport = original.dport;
	flow->dport = original.sport;
}

#define CALLERS_DEPTH 24
#define CLOSERS 3
#define SOFTIRQS 2

/* Functions by which a program closes a connection. */
const volatile __u64 closers[CLOSERS][SPAN_PARTS][2];

/* Functions above which the kernel works on its own account, whichever process it has interrupted. */
const volatile __u64 softirqs[SOFTIRQS][SPAN_PARTS][2];

static __always_inline bool is_in_any(__u64 address, const volatile __u64 (*spans)[SPAN_PARTS][2], int count)
{
	for (int i = 0; i < count; i++)
		if (is_in(address, spans[i]))
			return true;
	return false;
}

/* Whether the calls that led here began with a program that closes, or dies: not in a timer, nor with a segment. */
static __noinline bool is_closed_by_program(__u64 *ctx)
{
	__u64 callers[CALLERS_DEPTH] = {}; /* 5.10's verifier requires that it is set */
	long bytes = bpf_get_stack(ctx, callers, sizeof(callers), 0);

	for (int i = 0; i < CALLERS_DEPTH; i++) {
		if (i * (long)sizeof(__u64) >= bytes)
			break;
		if (is_in_any(callers[i], softirqs, SOFTIRQS))
			return false;
		if (is_in_any(callers[i], closers, CLOSERS))
			return true;
	}
	return false;
}

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

static __always_inline void write_process(struct tcpreset_event *event)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(event->command, sizeof(event->command));
}

SEC("raw_tp/tcp_send_reset")
int BPF_PROG(reset_sent, const struct sock *sk, struct sk_buff *skb)
{
	enum reset_kind kind = !sk ? RESET_NO_SOCKET : !skb ? RESET_ACTIVE : RESET_PROCESS;
	struct tcpreset_event *event;

	event = begin_reset(sk ? netns_of_socket(sk) : netns_of_packet(skb, NULL), kind);
	if (!event)
		return 0;
	/* The segment names the peer also where the socket is a listener or what is left in TIME_WAIT. */
	if (skb)
		flow_of_packet(&event->flow, skb);
	if (sk && skb)
		reverse(&event->flow);
	if (sk && !skb)
		flow_of_socket(&event->flow, sk, IPPROTO_TCP);
	if (sk)
		event->state = state_of(sk);
	if (bpf_core_field_exists(((struct trace_event_raw_tcp_send_reset *)0)->reason))
		event->reason = ARGUMENT(__u32, ctx, 2);
	if (kind == RESET_ACTIVE && is_closed_by_program(ctx))
		write_process(event);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/*
 * Before 6.10 (ee01defe25ba) the tracepoint reports only resets of a full socket. The others are seen at the
 * functions that send them.
 */
static __noinline int reset_sent_without_full_socket(const struct sock *sk, struct sk_buff *skb)
{
	__u32 state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : 0;
	struct tcpreset_event *event;
	struct flow flow = {};

	if (sk && state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV)
		return 0;
	flow_of_packet(&flow, skb);
	/* The functions are called for resets too, but send none in answer (RFC 9293, 3.10.7.1). */
	if (has_tcp_flags(&flow, TCP_FLAG_RST))
		return 0;

	event = begin_reset(sk ? netns_of_socket(sk) : netns_of_packet(skb, NULL),
			    sk ? RESET_PROCESS : RESET_NO_SOCKET);
	if (!event)
		return 0;
	event->flow = flow;
	if (sk)
		reverse(&event->flow);
	event->state = state;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

AT_ENTRY(tcp_v4_send_reset, v4_reset_sent, const struct sock *sk, struct sk_buff *skb)
{
	return reset_sent_without_full_socket(sk, skb);
}

AT_ENTRY(tcp_v6_send_reset, v6_reset_sent, const struct sock *sk, struct sk_buff *skb)
{
	return reset_sent_without_full_socket(sk, skb);
}

static __always_inline enum reset_kind received_in(__u32 state)
{
	switch (state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
	case TCP_NEW_SYN_RECV:
		return RESET_RECEIVED_SYN;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return RESET_RECEIVED_ESTABLISHED;
	}
	return RESET_RECEIVED_CLOSING;
}

const volatile __u64 validate_incoming[SPAN_PARTS][2];  /* tcp_validate_incoming() */
const volatile __u64 rcv_state_process[SPAN_PARTS][2];  /* tcp_rcv_state_process() */

#define RECEIVERS_DEPTH 12

/*
 * The kernel calls tcp_reset(), and so reports a received reset, also when data reach a socket that
 * is shut for reading (TCPAbortOnData): nothing was received then, one is about to be sent. They differ
 * by the caller: a true one passed tcp_validate_incoming(), data did not.
 */
static __always_inline bool is_data_after_shutdown(__u64 *ctx, __u32 state)
{
	__u64 callers[RECEIVERS_DEPTH] = {};
	long bytes;

	if (state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2)
		return false;
	bytes = bpf_get_stack(ctx, callers, sizeof(callers), 0);
	for (int i = 0; i < RECEIVERS_DEPTH; i++) {
		if (i * (long)sizeof(__u64) >= bytes)
			break;
		if (is_in(callers[i], validate_incoming))
			return false;
		if (is_in(callers[i], rcv_state_process))
			return true;
	}
	return false;
}

SEC("raw_tp/tcp_receive_reset")
int BPF_PROG(reset_received, const struct sock *sk)
{
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	struct tcpreset_event *event;

	if (is_data_after_shutdown(ctx, state))
		return 0;
	event = begin_reset(netns_of_socket(sk), received_in(state));
	if (!event)
		return 0;
	flow_of_socket(&event->flow, sk, IPPROTO_TCP);
	event->state = state;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/*
 * Whether the kernel has obeyed a reset for a socket in TIME_WAIT: then the socket is in no table any more. One whose
 * number is not the next, say, it frees silently (RFC 1337; tcp_timewait_state_process() in the kernel).
 */
static __always_inline bool is_killed(const struct sock *sk)
{
	return !BPF_CORE_READ(sk, __sk_common.skc_nulls_node.pprev);
}

static __always_inline int emit_reset(const struct sock *sk, struct sk_buff *skb, __u32 state)
{
	struct tcpreset_event *event = begin_reset(netns_of_socket(sk), received_in(state));

	if (!event)
		return 0;
	flow_of_packet(&event->flow, skb);
	reverse(&event->flow);
	event->state = state;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* In TIME_WAIT proper, or in FIN_WAIT2 where the program is gone. */
static __always_inline int received_in_time_wait(const struct sock *sk, struct sk_buff *skb)
{
	if (!is_killed(sk) || !is_reset(skb))
		return 0;
	return emit_reset(sk, skb, BPF_CORE_READ((struct inet_timewait_sock *)sk, tw_substate));
}

/*
 * A reset that meets no full socket passes no tracepoint of its own. But its segment is freed as if it were
 * dropped.
 */
SEC("raw_tp/kfree_skb")
int BPF_PROG(reset_received_without_socket, struct sk_buff *skb, void *location)
{
	struct drop drop = read_drop(ctx, skb, location);

	if (ends_in_time_wait(&drop))
		return received_in_time_wait(drop.sk, skb);
	return resets_request(&drop) ? emit_reset(drop.sk, skb, TCP_SYN_RECV) : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
