// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One pass over all tasks that visits each network namespace once and writes, for each, its identity
 * and what the kernel counts in it.
 *
 * Reading the iterator gives an array of struct namespace_record. One reader at a time.
 */
#include "conntrack.h"
#include "mibs.h"
#include "netns.h"
#include "percpu.h"
#include "queues.h"
#include "sockets.h"

struct namespace_record {
	__u64 cookie;
	__u32 inode;
	__u32 pid; /* a process in it, the one with the lowest number */
	struct mib_counters mibs;
	struct message_counters messages;
	struct socket_counters sockets;
	struct conntrack_counters conntrack;
	struct queue_facts queues;
};

/* Counts the passes, to distinguish a namespace seen in this one from one seen before. */
__u64 pass;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);   /* cookie */
	__type(value, __u64); /* the pass in which it was last written */
} written SEC(".maps");

static struct namespace_record record;

/* Global, so that it is verified once and not again for each CPU of the loop that calls it. */
__noinline int add_cpu(__u64 offset)
{
	add_mibs(&record.mibs, offset);
	add_sockets(offset);
	add_conntrack(&record.conntrack, offset);
	return 0;
}

static __always_inline void count(struct net *net)
{
	begin_mibs(&record.mibs, net);
	begin_sockets(net);
	begin_conntrack(&record.conntrack, net);
	for (__u32 cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (cpu >= percpu_count)
			break;
		if (percpu_offsets[cpu])
			add_cpu(percpu_offsets[cpu]);
	}
	write_sockets(&record.sockets, net);
	copy_messages(&record.messages, net);
	record.queues.any = has_queues(net);
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
	last = bpf_map_lookup_elem(&written, &id.cookie);
	if (last && *last == pass)
		return 0;

	record.cookie = id.cookie;
	record.inode = id.inode;
	record.pid = task->pid;
	count(net);
	/* A full buffer is no loss: the same task comes again in the next read of the reader's. */
	if (bpf_seq_write(context->meta->seq, &record, sizeof(record)))
		return 0;
	bpf_map_update_elem(&written, &id.cookie, &pass, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
