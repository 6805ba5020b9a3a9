/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connection tracking of a namespace, as the kernel counts it for /proc/PID/net/stat/nf_conntrack. */
#pragma once

#include "own_file.h"

struct conntrack_counters { /* named as in the table; the last nine summed over the CPUs */
	__u64 entries;
	__u64 found;
	__u64 insert;
	__u64 invalid;
	__u64 ignore;
	__u64 insert_failed;
	__u64 drop;
	__u64 early_drop;
	__u64 search_restart;
	__u64 icmp_error;
};

/* Namespaces keep what belongs to modules in a list, at indices that are assigned as modules are loaded. */
#define MODULES_MAX 256

/* Index of connection tracking in that list; 0 before it is learnt, and where there is none. */
__u32 conntrack_index;

#define STATISTICS_WORDS 64

static __u64 conntrack_statistics;             /* of the namespace at hand, a per-CPU pointer */
static __u32 conntrack_here[STATISTICS_WORDS]; /* one CPU's copy, the words of struct ip_conntrack_stat */

/* What a file of /proc/sys shows. */
static __always_inline void *shown_by(struct file *file)
{
	void *inode = BPF_CORE_READ(file, f_inode);
	struct proc_inode *of_procfs = inode - bpf_core_field_offset(struct proc_inode, vfs_inode);

	return BPF_CORE_READ(of_procfs, sysctl_entry, data);
}

/*
 * Run with the descriptor of /proc/sys/net/netfilter/nf_conntrack_count. It shows the number of entries of our
 * own namespace, which stands at the beginning of what the namespace's list has for the module. The variable that
 * has the index can be found on kernels with KALLSYMS_ALL only.
 */
SEC("raw_tp")
int learn_conntrack(void *context)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	void *entries = shown_by(own_file()), *at_index = NULL;
	struct net_generic *list = BPF_CORE_READ(net, gen);
	__u32 length = BPF_CORE_READ(list, s.len);

	conntrack_index = 0;
	if (!bpf_core_field_exists(net->ct.stat))
		return 1;
	if (bpf_core_field_exists(net->ct.count))
		return 0;
	for (__u32 index = 1; index < MODULES_MAX && index < length; index++) {
		bpf_probe_read_kernel(&at_index, sizeof(at_index), (void *)list + sizeof(void *) * index);
		if (entries && at_index == entries) {
			conntrack_index = index;
			return 0;
		}
	}
	return 1;
}

static __always_inline __u64 conntrack_entries(struct net *net)
{
	void *list = BPF_CORE_READ(net, gen), *at_index = NULL;
	int entries = 0;

	/* Before 5.14 (c53bd0e96662) in the namespace itself. */
	if (bpf_core_field_exists(net->ct.count))
		return BPF_CORE_READ(net, ct.count.counter);
	if (!conntrack_index)
		return 0;
	bpf_probe_read_kernel(&at_index, sizeof(at_index), list + sizeof(void *) * conntrack_index);
	bpf_probe_read_kernel(&entries, sizeof(entries), at_index);
	return entries;
}

static __always_inline void begin_conntrack(struct conntrack_counters *to, struct net *net)
{
	__builtin_memset(to, 0, sizeof(*to));
	conntrack_statistics = 0;
	if (!bpf_core_field_exists(net->ct.stat))
		return;
	conntrack_statistics = (__u64)BPF_CORE_READ(net, ct.stat);
	to->entries = conntrack_entries(net);
}

/* A word of this CPU's copy; what a kernel does not count it shows as 0. */
#define CONNTRACK_WORD(member) \
	(bpf_core_field_exists(struct ip_conntrack_stat, member) ? \
		 conntrack_here[bpf_core_field_offset(struct ip_conntrack_stat, member) / 4 % STATISTICS_WORDS] : 0)

static __always_inline void add_conntrack(struct conntrack_counters *to, __u64 offset)
{
	__u32 bytes = bpf_core_type_size(struct ip_conntrack_stat);

	if (bytes > sizeof(conntrack_here))
		bytes = sizeof(conntrack_here);
	if (!conntrack_statistics ||
	    bpf_probe_read_kernel(conntrack_here, bytes, (void *)(conntrack_statistics + offset)))
		return;
	to->found += CONNTRACK_WORD(found);
	to->insert += CONNTRACK_WORD(insert);
	to->invalid += CONNTRACK_WORD(invalid);
	to->ignore += CONNTRACK_WORD(ignore);
	to->insert_failed += CONNTRACK_WORD(insert_failed);
	to->drop += CONNTRACK_WORD(drop);
	to->early_drop += CONNTRACK_WORD(early_drop);
	to->search_restart += CONNTRACK_WORD(search_restart);
	to->icmp_error += CONNTRACK_WORD(error);
}
