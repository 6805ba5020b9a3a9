/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* SNMP counters (MIBs) of a namespace, summed over the CPUs as /proc/PID/net/{snmp,netstat,snmp6} would. */
#pragma once

#include "probe.h"

/* Room for more counters than any kernel has so far (6.18: 16, 10, 136, 38, 30 and 7). */
#define TCP_COUNTERS_MAX 24
#define UDP_COUNTERS_MAX 16
#define TCPEXT_COUNTERS_MAX 192
#define IP_COUNTERS_MAX 48
#define ICMP_COUNTERS_MAX 40
#define ICMP6_COUNTERS_MAX 12

/* The types of ICMP messages that have a name in /proc: 0-18, and of ICMPv6 its errors 0-4 and 128-143. */
#define ICMP_TYPES 19
#define ICMP6_ERROR_TYPES 5
#define ICMP6_INFO_TYPES 16
#define ICMP6_FIRST_INFO_TYPE 128

/* Messages sent are counted so far behind messages received (struct icmpmsg_mib of the kernel, since 2.6.25). */
#define ICMP_SENT 256

struct mib_counters {
	__u64 tcp[TCP_COUNTERS_MAX]; /* by enumerator: TCP_MIB_*, UDP_MIB_*, LINUX_MIB_*, IPSTATS_MIB_*, ICMP_MIB_* ... */
	__u64 udp[UDP_COUNTERS_MAX];
	__u64 tcpext[TCPEXT_COUNTERS_MAX];
	__u64 ip[IP_COUNTERS_MAX];
	__u64 icmp[ICMP_COUNTERS_MAX];
	__u64 udp6[UDP_COUNTERS_MAX];
	__u64 ip6[IP_COUNTERS_MAX];
	__u64 icmp6[ICMP6_COUNTERS_MAX];
};

struct message_counters {
	__u64 icmp_in[ICMP_TYPES]; /* by type of message */
	__u64 icmp_out[ICMP_TYPES];
	__u64 icmp6_errors_in[ICMP6_ERROR_TYPES];
	__u64 icmp6_errors_out[ICMP6_ERROR_TYPES];
	__u64 icmp6_info_in[ICMP6_INFO_TYPES]; /* from ICMP6_FIRST_INFO_TYPE on */
	__u64 icmp6_info_out[ICMP6_INFO_TYPES];
};

/*
 * Where the MIBs of the namespace at hand are, as per-CPU pointers; 0 for those that this kernel has not.
 * Not static, since clang then splits it, and its BTF too.
 */
struct mib_addresses {
	__u64 tcp, udp, tcpext, ip, icmp, udp6, ip6, icmp6;
} mibs;

static struct mib_counters here;
static struct mib_counters zero;

/* Add one CPU's copy of a MIB. The number of counters is the running kernel's, put in by CO-RE. */
#define ADD_MIB(field, type, offset)                                                                   \
	({                                                                                             \
		__u32 bytes = bpf_core_type_size(struct type);                                         \
		if (bytes > sizeof(here.field))                                                        \
			bytes = sizeof(here.field);                                                    \
		if (mibs.field && !bpf_probe_read_kernel(here.field, bytes, (void *)(mibs.field + (offset)))) \
			for (__u32 i = 0; i < sizeof(here.field) / 8; i++) {                           \
				if (i >= bytes / 8)                                                    \
					break;                                                         \
				to->field[i] += here.field[i];                                 \
			}                                                                              \
	})

static __always_inline void add_mibs(struct mib_counters *to, __u64 offset)
{
	ADD_MIB(tcp, tcp_mib, offset);
	ADD_MIB(udp, udp_mib, offset);
	ADD_MIB(tcpext, linux_mib, offset);
	ADD_MIB(ip, ipstats_mib, offset);
	ADD_MIB(icmp, icmp_mib, offset);
	ADD_MIB(udp6, udp_mib, offset);
	ADD_MIB(ip6, ipstats_mib, offset);
	ADD_MIB(icmp6, icmpv6_mib, offset);
}

#define MIB(net, member) (bpf_core_field_exists((net)->mib.member) ? (__u64)BPF_CORE_READ(net, mib.member) : 0)

static __always_inline void begin_mibs(struct mib_counters *to, struct net *net)
{
	mibs.tcp = MIB(net, tcp_statistics);
	mibs.udp = MIB(net, udp_statistics);
	mibs.tcpext = MIB(net, net_statistics);
	mibs.ip = MIB(net, ip_statistics);
	mibs.icmp = MIB(net, icmp_statistics);
	mibs.udp6 = MIB(net, udp_stats_in6);
	mibs.ip6 = MIB(net, ipv6_statistics);
	mibs.icmp6 = MIB(net, icmpv6_statistics);

	/* Too large for the compiler's own memset. */
	bpf_probe_read_kernel(to, sizeof(*to), &zero);
}

/* Copy the counters of messages from type `first` on; zeros where the address is 0. */
#define COPY_MESSAGES(field, address, first) \
	bpf_probe_read_kernel(to->field, sizeof(to->field), (void *)((address) + 8 * (first)))

/* These are kept once for all CPUs. */
static __always_inline void copy_messages(struct message_counters *to, struct net *net)
{
	__u64 icmp = MIB(net, icmpmsg_statistics);
	__u64 icmp6 = MIB(net, icmpv6msg_statistics);

	COPY_MESSAGES(icmp_in, icmp, 0);
	COPY_MESSAGES(icmp_out, icmp, ICMP_SENT);
	COPY_MESSAGES(icmp6_errors_in, icmp6, 0);
	COPY_MESSAGES(icmp6_errors_out, icmp6, ICMP_SENT);
	COPY_MESSAGES(icmp6_info_in, icmp6, ICMP6_FIRST_INFO_TYPE);
	COPY_MESSAGES(icmp6_info_out, icmp6, ICMP_SENT + ICMP6_FIRST_INFO_TYPE);
}
