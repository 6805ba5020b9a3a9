/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Segments of healthy TCP that the kernel frees as if it dropped them, when it has taken all that is in them:
 * probes of the peer, which ask for an ACK and get it, and ACKs that bring nothing but the acknowledgment.
 * probing/consumed_ack.py has the hooks for kernels whose drops report too little.
 */
#pragma once

#include "ending.h"
#include "segment.h"

const volatile __u64 tcp_rcv_state_process[SPAN_PARTS][2];

/* The last segment on each CPU that was out of its socket's window. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meeting);
} last_out_of_window SEC(".maps");

/* The last argument points to a member of the socket, and so leads to it. */
AT_ENTRY(tcp_oow_rate_limited, misses_window, struct net *net, struct sk_buff *skb, int counter, __u8 *last_oow_ack_time)
{
	remember_meeting(&last_out_of_window,
			 last_oow_ack_time - bpf_core_field_offset(struct tcp_sock, last_oow_ack_time), skb);
	return 0;
}

static __always_inline bool is_about_window(const struct drop *drop)
{
	return IS_FOR(drop, TCP_OLD_SEQUENCE) || IS_FOR(drop, TCP_INVALID_SEQUENCE) ||
	       IS_FOR(drop, TCP_INVALID_END_SEQUENCE) || IS_FOR(drop, TCP_ZEROWINDOW);
}

/*
 * A keepalive, or Linux's probe of a closed window: no data, and the number before the next (tcp_xmit_probe_skb;
 * RFC 9293, 3.8.4). Others probe a window with the next byte (RFC 9293, 3.8.6.1).
 */
static __always_inline bool is_probe(const struct drop *drop, const struct tcp_header *header, __u32 bytes)
{
	const struct tcp_sock *sk = (struct tcp_sock *)drop->sk;
	__u32 ahead;

	if (IS_FOR(drop, TCP_ZEROWINDOW)) /* tcp_data_queue() has found it to be the next byte */
		return bytes == 1;
	if (!sk)
		sk = recall_meeting(&last_out_of_window, drop->skb);
	if (!sk)
		return false;
	ahead = bpf_ntohl(header->sequence) - BPF_CORE_READ(sk, rcv_nxt);
	return bytes == 0 ? ahead == -1U : bytes == 1 && ahead == 0;
}

/*
 * An ACK to a socket that has received the peer's FIN: tcp_rcv_state_process() processes it, and has nothing to queue.
 * Where the drop does not name the socket (before 6.11) that it is freed there without a reason is enough: no other
 * segment without data is.
 */
static __always_inline bool is_for_closing(const struct drop *drop)
{
	return is_in(drop->location, tcp_rcv_state_process) &&
	       (!drop->sk || is_in_state(drop->sk, TCP_CLOSE_WAIT) || is_in_state(drop->sk, TCP_CLOSING) ||
		is_in_state(drop->sk, TCP_LAST_ACK));
}

/* The last segment on each CPU whose connection waits for data, and its half-open connection. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meeting);
} last_deferred SEC(".maps");

static __always_inline __u8 defers_accept(const struct sock *listener)
{
	return BPF_CORE_READ((struct inet_connection_sock *)listener, icsk_accept_queue.rskq_defer_accept);
}

/* As tcp_check_req() is to find, but for the timestamp. */
static __always_inline bool waits_for_data(const struct request_sock *request, const struct tcp_header *header)
{
	const struct tcp_request_sock *tcp = (struct tcp_request_sock *)request;
	__u8 timeouts = BPF_CORE_READ_BITFIELD_PROBED(request, num_timeout);

	return timeouts < defers_accept(BPF_CORE_READ(request, __req_common.skc_listener)) &&
	       bpf_ntohl(header->sequence) == BPF_CORE_READ(tcp, rcv_isn) + 1 &&
	       bpf_ntohl(header->acknowledgment) == BPF_CORE_READ(tcp, snt_isn) + 1;
}

AT_ENTRY(tcp_check_req, defers_connection, struct sock *listener, struct sk_buff *skb, struct request_sock *request)
{
	struct tcp_header header;
	__u32 bytes;

	if (read_header(&header, skb, &bytes) && !bytes && acknowledges_only(&header) &&
	    waits_for_data(request, &header))
		remember_meeting(&last_deferred, request, skb);
	return 0;
}

/*
 * The last ACK of a handshake, to a listener that wants a connection only when there are data
 * (TCP_DEFER_ACCEPT). Since 6.15 all else for which such an ACK is freed here has a reason, as a full queue has.
 */
static __always_inline bool is_for_deferring(const struct drop *drop)
{
	if (!is_in_tcp_rcv(drop->location))
		return false;
	if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_TCP_LISTEN_OVERFLOW))
		return is_in_state(drop->sk, TCP_LISTEN) && defers_accept(drop->sk);
	return recall_meeting(&last_deferred, drop->skb);
}

static __always_inline bool is_where_acks_end(const struct drop *drop)
{
	return is_unexplained(drop) && (is_in(drop->location, tcp_rcv_state_process) || is_in_tcp_rcv(drop->location));
}

static __always_inline bool is_consumed_ack(const struct drop *drop)
{
	struct tcp_header header;
	__u32 bytes;

	if (!is_about_window(drop) && !is_where_acks_end(drop))
		return false;
	if (!read_header(&header, drop->skb, &bytes) || !acknowledges_only(&header))
		return false;
	if (is_about_window(drop))
		return is_probe(drop, &header, bytes);
	return !bytes && (is_for_closing(drop) || is_for_deferring(drop));
}
