/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the header of a TCP segment says, once the kernel has found it. */
#pragma once

#include "flow.h"

static __always_inline __u32 header_length(const struct tcp_header *header)
{
	return header->data_offset >> 4 << 2;
}

/* The header, and how many bytes of data follow it. The buffer may begin at either. */
static __always_inline bool read_header(struct tcp_header *header, struct sk_buff *skb, __u32 *bytes)
{
	unsigned char *start = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
	unsigned char *end = BPF_CORE_READ(skb, data) + BPF_CORE_READ(skb, len);

	if (bpf_probe_read_kernel(header, sizeof(*header), start))
		return false;
	start += header_length(header);
	*bytes = end > start ? end - start : 0;
	return true;
}

/* Whether a segment does nothing to the connection but acknowledge. */
static __always_inline bool acknowledges_only(const struct tcp_header *header)
{
	return (header->flags & (TCP_FLAG_ACK | TCP_FLAG_SYN | TCP_FLAG_FIN | TCP_FLAG_RST)) == TCP_FLAG_ACK;
}
