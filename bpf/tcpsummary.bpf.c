// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sums all TCP sockets of the node by network namespace, in one pass over the kernel's own hash tables.
 *
 * That pass is exact, and the cheapest that is:
 * - iter/task_file reaches sockets by the descriptors of processes, and so misses those that have none: not accepted
 *   yet, closed by the program with data still to be sent, in TIME_WAIT, half open, in transit in a Unix socket, the
 *   subflows of MPTCP. Among them are the very ones that one looks for when something hangs.
 * - iter/tcp, sock_diag and /proc/PID/net/tcp see one namespace, and walk all buckets of the table for each.
 * - The table holds every socket once, whoever holds it, and most buckets are empty: to look at a quarter of a million
 *   of them costs 1 ms, a tenth of what one /proc/PID/net/tcp does.
 *
 * User space reads find_tables, then, for each table, sets `table_*` and reads count_sockets, again and again with
 * `first_word` moved on, to the end of the table. One reader at a time.
 *
 * The walk takes no lock. It runs as an RCU reader, which keeps the memory of sockets a socket's. One that is freed and
 * used again in the instant in which it is copied may lead into another bucket's chain. The end of a chain says whose it
 * is: `strayed` counts those that do not fit, and user space does a pass with one again.
 */
#include "death_row.h"
#include "histogram.h"
#include "netns.h"

#define SLICES 256
#define SLICE_WORDS 512
#define CHAIN_MAX 4096

/* Added to the number of a bucket at the end of its chain: include/net/tcp.h, include/net/inet_hashtables.h. */
#define LISTENING_NULLS_BASE (1ULL << 29)

struct hash_table {
	__u64 address;
	__u64 words;       /* size of all its buckets, in words of 8 bytes */
	__u32 bucket_words; /* size of a bucket */
	__u32 head_word;   /* where in a bucket its chain begins */
	__u32 listening;   /* 1: of listening sockets */
	__u32 reserved;
};

struct socket_tables {
	struct hash_table established; /* all but closed and listening sockets */
	struct hash_table listening;
};

EXPORT_LAYOUT(socket_tables);

/* Before 5.19 (cae3873c5b3a), with nulls as ends of chains since 5.5 (8dbd76e79a16). */
struct inet_hashinfo___before {
	struct inet_listen_hashbucket listening_hash[32];
} __attribute__((preserve_access_index));

#define LISTENING_BUCKETS_BEFORE 32

static __always_inline void describe_established(struct hash_table *to, struct inet_hashinfo *tables)
{
	to->address = (__u64)BPF_CORE_READ(tables, ehash);
	to->bucket_words = bpf_core_type_size(struct inet_ehash_bucket) / 8;
	to->words = ((__u64)BPF_CORE_READ(tables, ehash_mask) + 1) * to->bucket_words;
	to->head_word = bpf_core_field_offset(struct inet_ehash_bucket, chain) / 8;
}

static __always_inline void describe_listening(struct hash_table *to, struct inet_hashinfo *tables)
{
	struct inet_hashinfo___before *before = (void *)tables;

	to->listening = 1;
	to->bucket_words = bpf_core_type_size(struct inet_listen_hashbucket) / 8;
	to->head_word = bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head) / 8;
	if (bpf_core_field_exists(before->listening_hash)) {
		to->address = (__u64)before + bpf_core_field_offset(before->listening_hash);
		to->words = LISTENING_BUCKETS_BEFORE * to->bucket_words;
	} else {
		to->address = (__u64)BPF_CORE_READ(tables, lhash2);
		to->words = ((__u64)BPF_CORE_READ(tables, lhash2_mask) + 1) * to->bucket_words;
	}
}

static struct inet_hashinfo *last_tables;

/* Gives a struct socket_tables for each change from one process to the next: one in all, where all namespaces share. */
SEC("iter/task")
int find_tables(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct socket_tables record = {};
	struct inet_hashinfo *tables;
	struct net *net;

	if (!task)
		return 0;
	if (context->meta->seq_num == 0)
		last_tables = NULL;
	if (task->pid != task->tgid)
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!is_netns(net))
		return 0;
	tables = BPF_CORE_READ(death_row_of(net), hashinfo);
	if (!tables || tables == last_tables)
		return 0;
	describe_established(&record.established, tables);
	describe_listening(&record.listening, tables);
	/* A full buffer is no loss: the same task comes again in the next read of the reader's. */
	if (!bpf_seq_write(context->meta->seq, &record, sizeof(record)))
		last_tables = tables;
	return 0;
}

struct connections {
	__u64 established;
	__u64 time_wait;
	__u64 close_wait;
	__u64 syn_sent;
	__u64 syn_recv;
	__u64 unsent; /* bytes in the send queues of established connections: not acknowledged or not sent */
	__u64 unread; /* bytes in their receive queues */
	struct histogram round_trips; /* smoothed, of each of them that has measured one */
};

struct port_key {
	__u32 netns_inode;
	__u32 port;
};

struct accept_queue {
	__u64 waiting; /* connections established and not accepted */
	__u64 limit;
};

/* Both are emptied by their reader: each pass begins with nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* few of so many are used, and the values are large */
	__type(key, __u32); /* inode of the namespace */
	__type(value, struct connections);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct port_key);
	__type(value, struct accept_queue);
} accept_queues SEC(".maps");

/* Has no content: the iterator over it calls count_sockets once for each slice of a table. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLICES);
	__type(key, __u32);
	__type(value, __u32);
} slices SEC(".maps");

/* The table that is walked, and where the first slice begins: set by user space. */
__u64 table_address;
__u64 table_words;
__u64 first_word;
__u32 table_bucket_words;
__u32 table_head_word;
__u32 table_listening;

/* Sockets for which a map had no room, or chains that were too long; chains that ended in another bucket, or nowhere. */
__u64 uncounted;
__u64 strayed;

static __u64 words[SLICE_WORDS];

/* One copy of what all kinds of sockets have in common, so that what is read of it belongs together. */
static char common[256];
#define COMMON(type, member) (*(type *)(common + bpf_core_field_offset(struct sock_common, member)))

/* What a new namespace begins with: too large for the stack. */
static struct connections no_connections;

static __always_inline struct connections *connections_in(__u32 inode)
{
	struct connections *sum = bpf_map_lookup_elem(&connections, &inode);

	if (sum)
		return sum;
	bpf_map_update_elem(&connections, &inode, &no_connections, BPF_NOEXIST);
	return bpf_map_lookup_elem(&connections, &inode);
}

/* As ss shows them (tcp_diag_get_info() and tcp_get_info() in the kernel). */
static __always_inline void add_established(struct connections *sum, struct tcp_sock *sk)
{
	__u32 round_trip_us = BPF_CORE_READ(sk, srtt_us) >> 3;
	__u32 unread = BPF_CORE_READ(sk, rcv_nxt) - BPF_CORE_READ(sk, copied_seq);

	sum->unsent += (__u32)(BPF_CORE_READ(sk, write_seq) - BPF_CORE_READ(sk, snd_una));
	if ((__s32)unread > 0)
		sum->unread += unread;
	if (round_trip_us)
		observe(&sum->round_trips, round_trip_us * 1000ULL);
}

static __always_inline void count_connection(__u64 sk, __u32 inode)
{
	struct connections *sum = connections_in(inode);

	if (!sum) {
		uncounted++;
		return;
	}
	switch (COMMON(__u8, skc_state)) {
	case TCP_ESTABLISHED:
		sum->established++;
		add_established(sum, (struct tcp_sock *)sk);
		break;
	case TCP_TIME_WAIT:
		/* FIN_WAIT2 may be kept in the small form too. */
		if (BPF_CORE_READ((struct inet_timewait_sock *)sk, tw_substate) == TCP_TIME_WAIT)
			sum->time_wait++;
		break;
	case TCP_CLOSE_WAIT:
		sum->close_wait++;
		break;
	case TCP_SYN_SENT:
		sum->syn_sent++;
		break;
	case TCP_SYN_RECV:
	case TCP_NEW_SYN_RECV:
		sum->syn_recv++;
		break;
	}
}

/* Sockets that share a port, by SO_REUSEPORT or on several addresses, are taken together. */
static __always_inline void count_listener(__u64 address, __u32 inode)
{
	struct port_key key = { .netns_inode = inode, .port = COMMON(__u16, skc_num) };
	struct accept_queue *queue = bpf_map_lookup_elem(&accept_queues, &key), fresh = {};
	struct sock *sk = (struct sock *)address;

	fresh.waiting = BPF_CORE_READ(sk, sk_ack_backlog);
	fresh.limit = BPF_CORE_READ(sk, sk_max_ack_backlog);
	if (queue) {
		queue->waiting += fresh.waiting;
		queue->limit += fresh.limit;
	} else if (bpf_map_update_elem(&accept_queues, &key, &fresh, BPF_NOEXIST)) {
		uncounted++;
	}
}

/* Count the socket that has a node in a chain; returns the next node, or 0. Global: verified once. */
__noinline __u64 count_socket(__u64 node)
{
	__u64 sk = node - bpf_core_field_offset(struct sock_common, skc_nulls_node);
	__u32 size = bpf_core_type_size(struct sock_common);
	__u32 inode;

	if (size > sizeof(common))
		size = sizeof(common);
	if (bpf_probe_read_kernel(common, size, (void *)sk))
		return 0;
	inode = BPF_CORE_READ(COMMON(struct net *, skc_net.net), ns.inum);
	if (table_listening)
		count_listener(sk, inode);
	else
		count_connection(sk, inode);
	return COMMON(__u64, skc_nulls_node.next);
}

__noinline int walk_chain(__u64 node, __u64 bucket)
{
	for (int i = 0; i < CHAIN_MAX; i++) {
		if (node & 1) {
			if (bucket != (node >> 1 & ~LISTENING_NULLS_BASE))
				strayed++;
			return 0;
		}
		/* What cannot be read is no socket: the table of a namespace that is gone. */
		if (!node) {
			strayed++;
			return 0;
		}
		node = count_socket(node);
	}
	uncounted++;
	return 0;
}

SEC("iter/bpf_map_elem")
int count_sockets(struct bpf_iter__bpf_map_elem *context)
{
	__u32 *slice = context->key;
	__u64 start, count;
	__u32 word;

	if (!slice || !table_bucket_words)
		return 0;
	start = first_word + (__u64)*slice * SLICE_WORDS;
	if (start >= table_words)
		return 0;
	count = table_words - start;
	if (count > SLICE_WORDS)
		count = SLICE_WORDS;
	if (bpf_probe_read_kernel(words, count * sizeof(*words), (void *)(table_address + start * sizeof(*words))))
		return 0;
	word = start % table_bucket_words;
	for (__u32 i = 0; i < SLICE_WORDS; i++) {
		if (i >= count)
			break;
		/* Where a chain is empty its end stands here, which is odd. */
		if (word == table_head_word && !(words[i] & 1))
			walk_chain(words[i], (start + i) / table_bucket_words);
		if (++word == table_bucket_words)
			word = 0;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
