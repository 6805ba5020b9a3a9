// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sums the input and output of every thread by the network namespace of its process, whether it lives or has ended.
 *
 * /proc/PID/io cannot be summed: a process's numbers hold those of the children that it has reaped (wait_task_zombie()
 * in the kernel), so that a child is counted twice or, where it is reaped by a parent in another namespace, not at all.
 * A thread's own account holds nothing but its own, and is complete when it ends. So
 *     total = accounts of the threads that live + accounts of those that have ended
 * where the second part is counted as each thread exits.
 */
#include "netns.h"

#define PF_EXITING 0x00000004 /* include/linux/sched.h */

struct account { /* members as in struct task_io_accounting */
	__u64 syscr;
	__u64 syscw;
	__u64 read_bytes;
	__u64 write_bytes;
};

struct namespace_account {
	__u64 last_pass; /* that met a process here */
	__u32 netns_inode;
	__u32 reserved;
	struct account living; /* as of that pass */
	struct account ended;  /* as of the beginning of that pass */
	struct account ended_now;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); /* cookie */
	__type(value, struct namespace_account);
} accounts SEC(".maps");

/* Counts the passes. */
__u64 pass;

/* Set for the first pass: what children and threads that ended before have left to the processes that live. */
__u32 with_history;

static __always_inline struct account read_account(const struct task_io_accounting *from)
{
	struct account account = {};

	if (bpf_core_field_exists(from->syscr)) {
		account.syscr = BPF_CORE_READ(from, syscr);
		account.syscw = BPF_CORE_READ(from, syscw);
	}
	if (bpf_core_field_exists(from->read_bytes)) {
		account.read_bytes = BPF_CORE_READ(from, read_bytes);
		account.write_bytes = BPF_CORE_READ(from, write_bytes);
	}
	return account;
}

/* Threads of several CPUs may end at once. */
static __always_inline void add_account(struct account *sum, const struct account *account)
{
	__sync_fetch_and_add(&sum->syscr, account->syscr);
	__sync_fetch_and_add(&sum->syscw, account->syscw);
	__sync_fetch_and_add(&sum->read_bytes, account->read_bytes);
	__sync_fetch_and_add(&sum->write_bytes, account->write_bytes);
}

/*
 * The account of a thread's process: a thread that enters another namespace for a moment, as container runtimes' do,
 * leaves its past where it was. Where the first thread has ended, the others speak for themselves.
 */
static __always_inline struct namespace_account *account_of(struct task_struct *task)
{
	struct net *net = BPF_CORE_READ(task, group_leader, nsproxy, net_ns);
	struct namespace_account *entry, fresh = {};
	struct netns_id id;

	if (!is_netns(net))
		net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!is_netns(net))
		return NULL;
	id = netns_id(net);
	entry = bpf_map_lookup_elem(&accounts, &id.cookie);
	if (entry)
		return entry;
	fresh.netns_inode = id.inode;
	/* Another CPU may be first: then its entry is the one. */
	bpf_map_update_elem(&accounts, &id.cookie, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&accounts, &id.cookie);
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(count_ended, struct task_struct *task)
{
	struct namespace_account *entry = account_of(task);
	struct account account;

	if (!entry)
		return 0;
	account = read_account(&task->ioac);
	add_account(&entry->ended_now, &account);
	return 0;
}

/*
 * The order keeps a total from being too large for a moment, and so from going backwards: what has ended is taken
 * first, then the living; and a thread that has begun to exit, which is before count_ended sees it, lives no more.
 */
SEC("iter/task")
int count_living(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct namespace_account *entry;
	struct account account;

	if (!task)
		return 0;
	if (context->meta->seq_num == 0)
		pass++;
	if (task->flags & PF_EXITING)
		return 0;
	entry = account_of(task);
	if (!entry)
		return 0;
	if (entry->last_pass != pass) {
		entry->last_pass = pass;
		entry->ended = entry->ended_now;
		__builtin_memset(&entry->living, 0, sizeof(entry->living));
	}
	account = read_account(&task->ioac);
	add_account(&entry->living, &account);
	if (with_history && task->pid == task->tgid) {
		account = read_account(&BPF_CORE_READ(task, signal)->ioac);
		add_account(&entry->ended_now, &account);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
