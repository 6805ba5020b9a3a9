// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counts the open descriptors of every process, as /proc/PID/fd lists them: once for all threads, which share them.
 *
 * Reading the iterator gives a struct process_descriptors for each process. One reader at a time.
 *
 * The table of descriptors is read as it lies in memory. iter/task_file would visit the same files, but costs two and a
 * half times as much: it takes a reference to every file and calls the program for each. A table that is exchanged for a
 * larger one meanwhile is freed only after the program has ended, which runs as an RCU reader.
 */
#include "netns.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define SOCKFS_MAGIC 0x534F434B

#define WORD_BITS 64
#define BLOCK_WORDS 128
#define BLOCKS_MAX 512 /* room for 4 million descriptors; a process may have 1 million unless fs.nr_open is raised */

struct process_descriptors {
	__u32 netns; /* inode of the process's network namespace */
	__u32 open;
	__u32 sockets;
};

static struct process_descriptors record;
static struct file *files[WORD_BITS];

/* As fstat() does, but not the file to which a Unix socket is bound: that can be opened by O_PATH. */
static __always_inline bool is_socket(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	return (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFSOCK && BPF_CORE_READ(inode, i_sb, s_magic) == SOCKFS_MAGIC;
}

/* Global, as the next one: each is then verified once, and not for each turn of the loop that calls it. */
__noinline int count_word(__u64 first)
{
	if (bpf_probe_read_kernel(files, sizeof(files), (void *)first))
		return 0;
	for (int i = 0; i < WORD_BITS; i++) {
		/* A descriptor that is being opened is taken, but has no file yet. */
		if (!files[i])
			continue;
		record.open++;
		record.sockets += is_socket(files[i]);
	}
	return 0;
}

__noinline int count_block(__u64 first, __u64 open_words, __u32 words)
{
	for (__u32 i = 0; i < BLOCK_WORDS; i++) {
		unsigned long open;

		if (i >= words || bpf_probe_read_kernel(&open, sizeof(open), (void *)(open_words + i * sizeof(open))))
			break;
		if (open)
			count_word(first + i * sizeof(files));
	}
	return 0;
}

static __always_inline void count_descriptors(struct files_struct *table)
{
	struct fdtable *fdt = BPF_CORE_READ(table, fdt);
	__u64 first = (__u64)BPF_CORE_READ(fdt, fd);
	__u64 open_words = (__u64)BPF_CORE_READ(fdt, open_fds);
	__u32 words = BPF_CORE_READ(fdt, max_fds) / WORD_BITS; /* always whole words: alloc_fdtable() */

	for (__u32 block = 0; block < BLOCKS_MAX; block++) {
		__u32 word = block * BLOCK_WORDS;

		if (word >= words)
			break;
		count_block(first + word * sizeof(files), open_words + word * sizeof(long), words - word);
	}
}

SEC("iter/task")
int count_processes(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct files_struct *table;
	struct net *net;

	if (!task || task->pid != task->tgid)
		return 0;
	table = BPF_CORE_READ(task, files);
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	/* A task that exits has given back both. */
	if (!table || !is_netns(net))
		return 0;
	record.netns = BPF_CORE_READ(net, ns.inum);
	record.open = 0;
	record.sockets = 0;
	count_descriptors(table);
	/* A full buffer is no loss: the same task comes again in the next read of the reader's. */
	bpf_seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
