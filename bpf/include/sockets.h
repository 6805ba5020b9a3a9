/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TCP sockets of a namespace, as the kernel counts them for /proc/PID/net/sockstat and sockstat6. */
#pragma once

#include "death_row.h"
#include "own_file.h"

struct socket_counters {
	__u64 tcp;  /* in use */
	__u64 tcp6; /* in use, of IPv6 */
	__u64 time_wait;
};

/* Each protocol's number in the kernel's count of sockets in use; -1 for one that this kernel has not. */
int tcp_number = -1, tcp6_number = -1;

/* Not static, since clang then splits it, and its BTF too. */
struct sockets_in_use {
	__u64 address; /* a per-CPU pointer */
	__s64 tcp;
	__s64 tcp6;
} in_use;

/* Run with the descriptor of a TCP socket of either family. */
SEC("raw_tp")
int learn_protocol(void *context)
{
	struct socket *socket = (struct socket *)BPF_CORE_READ(own_file(), private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct proto *protocol = BPF_CORE_READ(sk, __sk_common.skc_prot);
	int number;

	/* CONFIG_PROC_FS */
	if (!bpf_core_field_exists(protocol->inuse_idx) || BPF_CORE_READ_INTO(&number, protocol, inuse_idx))
		return 1;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		tcp6_number = number;
	else
		tcp_number = number;
	return 0;
}

static __always_inline __s64 sockets_of(int number, __u64 offset)
{
	int count = 0;

	if (number >= 0)
		bpf_probe_read_kernel(&count, sizeof(count),
				      (void *)(in_use.address + offset + bpf_core_field_offset(struct prot_inuse, val) +
					       sizeof(count) * number));
	return count;
}

static __always_inline void begin_sockets(struct net *net)
{
	in_use.address = (__u64)BPF_CORE_READ(net, core.prot_inuse);
	in_use.tcp = 0;
	in_use.tcp6 = 0;
}

static __always_inline void add_sockets(__u64 offset)
{
	in_use.tcp += sockets_of(tcp_number, offset);
	in_use.tcp6 += sockets_of(tcp6_number, offset);
}

static __always_inline __u64 time_wait_sockets(struct net *net)
{
	struct inet_timewait_death_row *row = death_row_of(net);

	/* Before 5.18 (fbb8295248e1); since then the namespace itself holds one reference. */
	if (bpf_core_field_exists(row->tw_count))
		return BPF_CORE_READ(row, tw_count.counter);
	return BPF_CORE_READ(row, tw_refcount.refs.counter) - 1;
}

/* Opened on one CPU and closed on another, sockets make the sum of a moment negative. The kernel shows 0 then. */
static __always_inline void write_sockets(struct socket_counters *to, struct net *net)
{
	to->tcp = in_use.tcp > 0 ? in_use.tcp : 0;
	to->tcp6 = in_use.tcp6 > 0 ? in_use.tcp6 : 0;
	to->time_wait = time_wait_sockets(net);
}
