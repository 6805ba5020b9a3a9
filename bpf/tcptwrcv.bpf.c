// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Segments that reach a connection in TIME_WAIT and end there. */
#include "ending.h"
#include "event.h"
#include "segment.h"

struct tcptwrcv_event {
	struct event_header header;
	struct flow flow; /* of the segment, as it came in */
	__u32 sequence;
	__u32 bytes;      /* of data */
	__u32 expected;
};

EXPORT_LAYOUT(tcptwrcv_event);

#define TIMESTAMP_OPTION 0x0101080a
#define LENGTH_WITH_TIMESTAMP 32

/*
 * Each close by this side ends with one FIN of the peer, which may come to the small socket already; a repeated one
 * means that our last ACK was lost. Both move the socket to the same state. But a segment that is sent again has a
 * later timestamp than that which the socket has kept of the first. Without timestamps the two look the same.
 */
static __always_inline bool is_repeated_fin(const struct sock *sk, const struct tcp_header *header)
{
	return header_length(header) >= LENGTH_WITH_TIMESTAMP &&
	       header->timestamp_option == bpf_htonl(TIMESTAMP_OPTION) &&
	       bpf_ntohl(header->timestamp) != BPF_CORE_READ((struct tcp_timewait_sock *)sk, tw_ts_recent);
}

/* A bare ACK changes nothing, and a FIN is due. Data, SYN, RST, and a FIN once more mean that something is wrong. */
static __always_inline bool is_expected(const struct sock *sk, const struct tcp_header *header, __u32 bytes)
{
	if (bytes || header->flags & (TCP_FLAG_SYN | TCP_FLAG_RST))
		return false;
	return !(header->flags & TCP_FLAG_FIN) || !is_repeated_fin(sk, header);
}

static __always_inline int emit(const struct sock *sk, struct sk_buff *skb)
{
	struct netns_id netns = netns_id(netns_of_socket(sk));
	struct occurrence_key key = { .netns_cookie = netns.cookie, .netns_inode = netns.inode };
	__u64 now = bpf_ktime_get_ns();
	struct tcptwrcv_event *event;
	struct occurrences *entry;
	struct tcp_header header;
	__u32 bytes;

	if (!read_header(&header, skb, &bytes))
		return 0;
	key.expected = is_expected(sk, &header, bytes);
	entry = count_occurrence(&key, now);
	if (!entry)
		return 0;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return 0;
	begin_event(&event->header, entry, netns, 0, now);
	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	flow_of_packet(&event->flow, skb);
	event->sequence = bpf_ntohl(header.sequence);
	event->bytes = bytes;
	event->expected = key.expected;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* A segment too old for the connection by its timestamp ends there too; later kernels (6.18, not 6.12) give a reason. */
static __always_inline bool is_too_old(const struct drop *drop)
{
	return IS_FOR(drop, TCP_RFC7323_TW_PAWS) && is_in_state(drop->sk, TCP_TIME_WAIT);
}

SEC("raw_tp/kfree_skb")
int BPF_PROG(segment_ended, struct sk_buff *skb, void *location)
{
	struct drop drop = read_drop(ctx, skb, location);
	struct inet_timewait_sock *sk = (struct inet_timewait_sock *)drop.sk;

	if (!ends_in_time_wait(&drop) && !is_too_old(&drop))
		return 0;
	/* In FIN_WAIT2 the connection may be kept in the small form too: data reset it then, which tcpreset reports. */
	if (BPF_CORE_READ(sk, tw_substate) != TCP_TIME_WAIT)
		return 0;
	return emit(drop.sk, skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
