// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TCP segments that are sent again: counted with their bytes; events have what made TCP do so.
 *
 * A segment is counted when it has been handed to the IP layer. The kernel's own RetransSegs counts also those of which
 * that fails (TCPRetransFail): this is the one less the other.
 */
#include "event.h"
#include "flow.h"

enum retransmission {
	RETRANSMITTED_SYN,
	RETRANSMITTED_SYN_ACK,
	RETRANSMITTED_BY_TIMEOUT,
	RETRANSMITTED_BY_LOSS_PROBE,
	RETRANSMITTED_FAST,
	/* Sums, without events. */
	RETRANSMITTED_SEGMENTS,
	RETRANSMITTED_BYTES,
};

struct tcpretrans_event {
	struct event_header header; /* kind: enum retransmission */
	struct flow flow;
	__u32 state;    /* enum tcp_state */
	__u32 sequence; /* number of the first byte */
	__u32 segments; /* on the wire: TSO sends several as one */
	__u32 bytes;    /* of data; 0 where only SYN or FIN is sent */
	__u32 timeouts; /* since something was acknowledged last */
	__u32 expected;
};

EXPORT_LAYOUT(tcpretrans_event);

#define TCP_CA_RECOVERY 3      /* enum tcp_ca_state in include/uapi/linux/tcp.h */
#define TCP_CA_LOSS 4
#define ICSK_TIME_LOSS_PROBE 5 /* include/net/inet_connection_sock.h */

static __always_inline enum retransmission what_made(const struct inet_connection_sock *sk, __u32 state)
{
	__u32 congestion;

	if (state == TCP_SYN_SENT)
		return RETRANSMITTED_SYN;
	if (state == TCP_SYN_RECV)
		return RETRANSMITTED_SYN_ACK;
	congestion = BPF_CORE_READ_BITFIELD_PROBED(sk, icsk_ca_state);
	if (congestion == TCP_CA_RECOVERY)
		return RETRANSMITTED_FAST;
	/* The timer of a loss probe may still run when acknowledgments have shown the loss. */
	if (congestion != TCP_CA_LOSS && BPF_CORE_READ(sk, icsk_pending) == ICSK_TIME_LOSS_PROBE)
		return RETRANSMITTED_BY_LOSS_PROBE;
	return RETRANSMITTED_BY_TIMEOUT;
}

/* Count what is sent again in a namespace; the event to be filled in and submitted, or NULL. */
static __always_inline struct tcpretrans_event *begin_retransmission(struct netns_id netns, enum retransmission kind,
								     __u32 segments, __u32 bytes)
{
	struct occurrence_key key = { .netns_cookie = netns.cookie, .netns_inode = netns.inode };
	__u64 now = bpf_ktime_get_ns();
	struct tcpretrans_event *event;
	struct occurrences *entry;

	key.kind = RETRANSMITTED_SEGMENTS;
	count_without_event(&key, segments);
	/* Of a number that is 0 here, clang would make an atomic operation that 5.10 does not know. */
	if (bytes) {
		key.kind = RETRANSMITTED_BYTES;
		count_without_event(&key, bytes);
	}
	key.kind = kind;
	/* Repaired within a round trip, as TCP is meant to: no timer had to run out while nothing moved. */
	key.expected = kind == RETRANSMITTED_FAST;
	entry = count_occurrence(&key, now);
	if (!entry)
		return NULL;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return NULL;
	begin_event(&event->header, entry, netns, kind, now);
	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	event->segments = segments;
	event->bytes = bytes;
	event->expected = key.expected;
	return event;
}

SEC("raw_tp/tcp_retransmit_skb")
int BPF_PROG(retransmitted, const struct sock *sk, struct sk_buff *skb)
{
	const struct inet_connection_sock *connection = (const struct inet_connection_sock *)sk;
	struct tcp_skb_cb *control = (struct tcp_skb_cb *)__builtin_preserve_access_index(&skb->cb);
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	struct tcpretrans_event *event;

	/* Since 6.17 (ad892e912b84) the tracepoint reports also what could not be sent. */
	if (bpf_core_field_exists(((struct trace_event_raw_tcp_retransmit_skb *)0)->err) && ARGUMENT(int, ctx, 2))
		return 0;
	event = begin_retransmission(netns_id(netns_of_socket(sk)), what_made(connection, state),
				     BPF_CORE_READ(control, tcp_gso_segs), BPF_CORE_READ(skb, len));
	if (!event)
		return 0;
	flow_of_socket(&event->flow, sk, IPPROTO_TCP);
	event->state = state;
	event->sequence = BPF_CORE_READ(control, seq);
	event->timeouts = BPF_CORE_READ(connection, icsk_retransmits);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* In answer to a handshake that goes on too long; the connection is no socket yet, but a request of the listener. */
SEC("raw_tp/tcp_retransmit_synack")
int BPF_PROG(retransmitted_synack, const struct sock *listener, const struct sock *request)
{
	struct tcpretrans_event *event;

	event = begin_retransmission(netns_id(netns_of_socket(request)), RETRANSMITTED_SYN_ACK, 1, 0);
	if (!event)
		return 0;
	flow_of_socket(&event->flow, request, IPPROTO_TCP);
	event->state = BPF_CORE_READ(request, __sk_common.skc_state);
	event->sequence = BPF_CORE_READ((struct tcp_request_sock *)request, snt_isn);
	event->timeouts = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
