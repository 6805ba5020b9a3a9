// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One pass over all tasks that visits each network namespace once and tells, for each, its identity
 * and its SNMP counters (MIBs), summed over the CPUs as /proc/PID/net/{snmp,netstat,snmp6} would.
 *
 * Reading the iterator gives an array of struct namespace_record. One reader at a time.
 */
#include "netns.h"

#define CPUS_MAX 1024

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

/* Messages sent stand so far behind messages received (struct icmpmsg_mib of the kernel, since 2.6.25). */
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

struct namespace_record {
	__u64 cookie;
	__u32 inode;
	__u32 pid; /* a process in it, the one with the lowest number */
	struct mib_counters mibs;
	struct message_counters messages;
};

/* Distance of each CPU's copy of per-CPU data from the pointer that names it; see learn_percpu_offset. */
__u64 percpu_offsets[CPUS_MAX];
/* How many of percpu_offsets are set: 0 before they are learnt. */
__u32 percpu_count;

/* Counts the passes, to tell a namespace seen in this one from one seen before. */
__u64 pass;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);   /* cookie */
	__type(value, __u64); /* the pass in which it was last told */
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu_sample SEC(".maps");

/* Pointers become plain numbers by a detour over memory: the verifier lets nothing be computed of them. */
static volatile __u64 sample_map, sample_here;

/*
 * Run once on each CPU, by BPF_PROG_TEST_RUN. The kernel keeps the offset of each CPU's data in
 * __per_cpu_offset, whose address only a kernel with KALLSYMS_ALL gives away. But the same offset
 * lies between where a per-CPU array says its data is and where this CPU finds it.
 */
SEC("raw_tp")
int learn_percpu_offset(void *context)
{
	__u32 zero = 0, cpu = bpf_get_smp_processor_id();
	void *here = bpf_map_lookup_elem(&percpu_sample, &zero);
	struct bpf_array *map;
	void *base;

	if (!here || cpu >= CPUS_MAX)
		return 1;
	sample_here = (__u64)here;
	sample_map = (__u64)&percpu_sample;
	map = (struct bpf_array *)sample_map;
	if (BPF_CORE_READ_INTO(&base, map, pptrs[0]))
		return 1;
	percpu_offsets[cpu] = sample_here - (__u64)base;
	return 0;
}

/*
 * Where the MIBs of the namespace at hand are, as per-CPU pointers; 0 for those that this kernel has not.
 * Not static, since clang then takes it apart, and its BTF with it.
 */
struct mib_addresses {
	__u64 tcp, udp, tcpext, ip, icmp, udp6, ip6, icmp6;
} mibs;

static struct namespace_record record;
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
				record.mibs.field[i] += here.field[i];                                 \
			}                                                                              \
	})

/* Global, so that the verifier looks at it once and not again for each CPU of the loop that calls it. */
__noinline int add_cpu(__u64 offset)
{
	ADD_MIB(tcp, tcp_mib, offset);
	ADD_MIB(udp, udp_mib, offset);
	ADD_MIB(tcpext, linux_mib, offset);
	ADD_MIB(ip, ipstats_mib, offset);
	ADD_MIB(icmp, icmp_mib, offset);
	ADD_MIB(udp6, udp_mib, offset);
	ADD_MIB(ip6, ipstats_mib, offset);
	ADD_MIB(icmp6, icmpv6_mib, offset);
	return 0;
}

#define MIB(net, member) (bpf_core_field_exists((net)->mib.member) ? (__u64)BPF_CORE_READ(net, mib.member) : 0)

static __always_inline void sum_mibs(struct net *net)
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
	bpf_probe_read_kernel(&record.mibs, sizeof(record.mibs), &zero);
	for (__u32 cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (cpu >= percpu_count)
			break;
		if (percpu_offsets[cpu])
			add_cpu(percpu_offsets[cpu]);
	}
}

/* Copy the counters of messages from type `first` on; zeros where the address is 0. */
#define COPY_MESSAGES(field, address, first) \
	bpf_probe_read_kernel(record.messages.field, sizeof(record.messages.field), (void *)((address) + 8 * (first)))

/* These are kept once for all CPUs. */
static __always_inline void copy_messages(struct net *net)
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

SEC("iter/task")
int walk_namespaces(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct netns_id id;
	struct net *net;
	__u64 *last;

	if (!task)
		return 0;
	if (context->meta->seq_num == 0)
		pass++;
	/* A thread may be in a namespace that is not its process's: a runtime's that sets up a pod, say. */
	if (task->pid != task->tgid)
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	/* A task that exits has no nsproxy any more, or one that is being freed. */
	if (!is_netns(net))
		return 0;
	id = netns_id(net);
	last = bpf_map_lookup_elem(&told, &id.cookie);
	if (last && *last == pass)
		return 0;

	record.cookie = id.cookie;
	record.inode = id.inode;
	record.pid = task->pid;
	sum_mibs(net);
	copy_messages(net);
	/* A full buffer is no loss: the same task comes again in the next read of the reader's. */
	if (bpf_seq_write(context->meta->seq, &record, sizeof(record)))
		return 0;
	bpf_map_update_elem(&told, &id.cookie, &pass, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
