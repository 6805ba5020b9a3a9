/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who talks to whom: read from a packet's headers or from a socket. */
#pragma once

#include "probe.h"

enum flow_known {
	FLOW_ADDRESSES = 1 << 0,
	FLOW_PORTS = 1 << 1,     /* of TCP, UDP, UDP-Lite, SCTP, DCCP */
	FLOW_ICMP = 1 << 2,      /* type and code */
	FLOW_FRAGMENT = 1 << 3,  /* not the first fragment: no transport header */
	FLOW_TRUNCATED = 1 << 4, /* the packet ends before its header does */
	FLOW_TCP_FLAGS = 1 << 5,
};

struct flow {
	__u8 saddr[16]; /* IPv4: the first four bytes */
	__u8 daddr[16];
	__u16 sport; /* host byte order, as everything here but the addresses */
	__u16 dport;
	__u16 ethertype;
	__u8 protocol;
	__u8 known; /* enum flow_known */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 tcp_flags;
	__u8 reserved;
};

enum tcp_flag { /* RFC 9293, 3.1 */
	TCP_FLAG_FIN = 0x01,
	TCP_FLAG_SYN = 0x02,
	TCP_FLAG_RST = 0x04,
	TCP_FLAG_ACK = 0x10,
};

struct ipv4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__u8 saddr[4];
	__u8 daddr[4];
};

struct ipv6_header {
	__u8 version_class;
	__u8 class_flow[3];
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u8 saddr[16];
	__u8 daddr[16];
};

struct tcp_header {
	__be16 ports[2];
	__be32 sequence;
	__be32 acknowledgment;
	__u8 data_offset; /* in words of four bytes, in the upper half */
	__u8 flags;       /* enum tcp_flag */
	__be16 window;
	__be16 checksum;
	__be16 urgent;
	/* As everybody sends it who sends it: two times NOP, kind 8, length 10 (RFC 7323, appendix A). */
	__be32 timestamp_option;
	__be32 timestamp;
};

/* The bytes of a packet from its network header on, as far as they lie in one piece. */
struct header_bytes {
	const unsigned char *start;
	__u32 length;
};

/* Copy `size` bytes at `offset`; false where the packet is shorter than that. */
static __always_inline bool copy_header(const struct header_bytes *headers, __u32 offset, void *to, __u32 size)
{
	return offset + size <= headers->length && !bpf_probe_read_kernel(to, size, headers->start + offset);
}

static __always_inline bool has_ports(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return true;
	}
	return false;
}

/* `size` is that of an address: a constant. */
static __always_inline void set_addresses(struct flow *flow, const void *source, const void *destination, __u32 size)
{
	__builtin_memcpy(flow->saddr, source, size);
	__builtin_memcpy(flow->daddr, destination, size);
	flow->known |= FLOW_ADDRESSES;
}

static __always_inline void read_transport(struct flow *flow, const struct header_bytes *headers, __u32 offset)
{
	__be16 ports[2];
	__u8 icmp[2];

	if (has_ports(flow->protocol)) {
		if (!copy_header(headers, offset, ports, sizeof(ports))) {
			flow->known |= FLOW_TRUNCATED;
			return;
		}
		flow->sport = bpf_ntohs(ports[0]);
		flow->dport = bpf_ntohs(ports[1]);
		flow->known |= FLOW_PORTS;
		if (flow->protocol == IPPROTO_TCP &&
		    copy_header(headers, offset + offsetof(struct tcp_header, flags), &flow->tcp_flags, 1))
			flow->known |= FLOW_TCP_FLAGS;
	} else if (flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6) {
		if (!copy_header(headers, offset, icmp, sizeof(icmp))) {
			flow->known |= FLOW_TRUNCATED;
			return;
		}
		flow->icmp_type = icmp[0];
		flow->icmp_code = icmp[1];
		flow->known |= FLOW_ICMP;
	}
}

/* Both return where the transport header begins, or 0 where the packet has none. */
static __always_inline __u32 read_ipv4(struct flow *flow, const struct header_bytes *headers)
{
	struct ipv4_header ip;
	__u32 offset;

	flow->ethertype = ETH_P_IP;
	if (!copy_header(headers, 0, &ip, sizeof(ip))) {
		flow->known |= FLOW_TRUNCATED;
		return 0;
	}
	set_addresses(flow, ip.saddr, ip.daddr, sizeof(ip.saddr));
	flow->protocol = ip.protocol;
	if (bpf_ntohs(ip.fragment) & 0x1fff) {
		flow->known |= FLOW_FRAGMENT;
		return 0;
	}
	offset = (ip.version_ihl & 0x0f) * 4;
	read_transport(flow, headers, offset);
	return offset;
}

#define IPV6_EXTENSIONS_MAX 6

/* Find the transport header behind IPv6's extension headers (RFC 8200, section 4). */
static __always_inline __u32 read_ipv6(struct flow *flow, const struct header_bytes *headers)
{
	struct ipv6_header ip;
	__u32 offset = sizeof(ip);
	__u8 extension[4];

	flow->ethertype = ETH_P_IPV6;
	if (!copy_header(headers, 0, &ip, sizeof(ip))) {
		flow->known |= FLOW_TRUNCATED;
		return 0;
	}
	set_addresses(flow, ip.saddr, ip.daddr, sizeof(ip.saddr));
	flow->protocol = ip.next_header;

	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		bool fragment = flow->protocol == IPPROTO_FRAGMENT;

		if (!fragment && flow->protocol != IPPROTO_HOPOPTS && flow->protocol != IPPROTO_ROUTING &&
		    flow->protocol != IPPROTO_DSTOPTS)
			break;
		if (!copy_header(headers, offset, extension, sizeof(extension))) {
			flow->known |= FLOW_TRUNCATED;
			return 0;
		}
		flow->protocol = extension[0];
		offset += fragment ? 8 : (extension[1] + 1) * 8;
		if (fragment && ((extension[2] << 8 | extension[3]) & 0xfff8)) {
			flow->known |= FLOW_FRAGMENT;
			return 0;
		}
	}
	read_transport(flow, headers, offset);
	return offset;
}

/*
 * Read the headers of a packet into `flow`, which is zero. A packet that was dropped before it had a
 * network header leaves FLOW_ADDRESSES unset. Returns the address of the transport header, or NULL.
 */
static __always_inline const unsigned char *flow_of_packet(struct flow *flow, struct sk_buff *skb)
{
	const unsigned char *head = BPF_CORE_READ(skb, head);
	__u32 network = BPF_CORE_READ(skb, network_header);
	__u32 tail = BPF_CORE_READ(skb, tail);
	struct header_bytes headers = { .start = head + network, .length = tail - network };
	__u32 offset = 0;
	__u8 version;

	flow->ethertype = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	/* Both offsets are 0 or ~0 until they are set; the bytes decide, since skb->protocol is set later. */
	if (network == 0 || network == 0xffff || network >= tail || !copy_header(&headers, 0, &version, 1))
		return NULL;
	if (version >> 4 == 4 && (flow->ethertype == ETH_P_IP || !flow->ethertype))
		offset = read_ipv4(flow, &headers);
	else if (version >> 4 == 6 && (flow->ethertype == ETH_P_IPV6 || !flow->ethertype))
		offset = read_ipv6(flow, &headers);
	return offset ? headers.start + offset : NULL;
}

/* Whether a packet is a TCP segment with one of these flags. */
static __always_inline bool has_tcp_flags(const struct flow *flow, __u8 flags)
{
	return flow->known & FLOW_TCP_FLAGS && flow->tcp_flags & flags;
}

/*
 * Read the ends of a socket into `flow`, which is zero: the source is the local end. Works on what
 * TIME_WAIT and SYN_RECV keep instead of a socket too, which have no more than struct sock_common.
 */
static __always_inline void flow_of_socket(struct flow *flow, const struct sock *sk, __u8 protocol)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	flow->protocol = protocol;
	flow->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
	flow->dport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	flow->known |= FLOW_ADDRESSES | FLOW_PORTS;
	/* A socket that is closed has given back its port, but inet_sport still has it. */
	if (!flow->sport && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		flow->sport = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));

	if (family == AF_INET) {
		flow->ethertype = ETH_P_IP;
		BPF_CORE_READ_INTO((__be32 *)flow->saddr, sk, __sk_common.skc_rcv_saddr);
		BPF_CORE_READ_INTO((__be32 *)flow->daddr, sk, __sk_common.skc_daddr);
	} else if (family == AF_INET6) {
		flow->ethertype = ETH_P_IPV6;
		BPF_CORE_READ_INTO((struct in6_addr *)flow->saddr, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)flow->daddr, sk, __sk_common.skc_v6_daddr);
	} else {
		flow->known = 0;
	}
}
