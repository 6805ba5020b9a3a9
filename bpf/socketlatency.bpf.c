// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How long data wait on a socket: received ones for the program to read them, written ones for the socket to hand
 * them to the network layer.
 *
 * What is measured is a standstill. Unread data wait since they came to a socket that had none, or since the
 * program last read some of them; unsent data since they were written to a socket that had none, or since the
 * socket last handed on some. So a program that stops once is one occurrence, however much comes meanwhile and
 * in however many pieces it then reads that; and a long queue that moves is none.
 *
 * A socket's two moments are kept in the socket itself (bpf_sk_storage), which allocates and frees the memory
 * with it. Only programs that the kernel attaches by type may do so: hence tp_btf here, not raw_tp. Where the kernel
 * rejects that, the moments are in a table by the socket's address: before 5.11 (8e4597c627fb), where the kernel
 * itself has no BTF, and on processors without cmpxchg16b, where kmalloc_nolock() has no memory (seen on 7.2).
 */
#include "flow.h"
#include "latency.h"
#include "segment.h"

enum socket_latency {
	READ,
	SEND,
};

struct socketlatency_event {
	struct event_header header; /* kind: enum socket_latency */
	struct flow flow;           /* from the socket's own end */
	__u64 latency_ns;
	__u32 pid; /* of the process that read or wrote */
	__u8 command[TASK_COMM_LEN];
};

EXPORT_LAYOUT(socketlatency_event);

struct waiting {
	__u64 unread_since; /* 0: nothing is unread */
	__u64 unsent_since;
	__u32 unsent_from; /* sequence number of the first unsent byte then: where it is sent, the wait is over */
	__u32 writer_pid;
	__u8 writer_command[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct waiting);
} in_sockets SEC(".maps");

/*
 * Takes all its memory at once, 7 MB: one that is allocated entry by entry makes kernels before 6.1 (96da3f7d489d)
 * warn, and so panic where they are configured to (panic_on_warn). It is left out where in_sockets is used.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64); /* address of the socket */
	__type(value, struct waiting);
} in_table SEC(".maps");

enum where {
	IN_SOCKET,
	IN_TABLE,
};

/* A member of what an argument points to: by type it is read as in the kernel, which is the cheapest; else copied. */
#define MEMBER(where, pointer, member)                                                                  \
	((where) == IN_SOCKET ? (pointer)->member : BPF_CORE_READ(pointer, member))

/* What runs at a tracepoint, with its first arguments: by type with `where` IN_SOCKET, raw with IN_TABLE. */
#define AT_TRACEPOINT(tracepoint, name, args...)                                                        \
	static __always_inline int name(enum where where, void *ctx, ##args);                           \
	CALLING("tp_btf/" #tracepoint, name##_typed, __u64, name(IN_SOCKET, ___bpf_ctx_cast(args)))     \
	CALLING("raw_tp/" #tracepoint, name##_raw, __u64, name(IN_TABLE, ___bpf_ctx_cast(args)))        \
	static __always_inline int name(enum where where, void *ctx, ##args)

/* What runs at the entry of a kernel function, with its first arguments, as AT_ENTRY, by `where` too. */
#define AT_ENTRY_BY_WHERE(function, name, args...)                                                          \
	static __always_inline int name(enum where where, void *ctx, ##args);                               \
	CALLING("fentry/" #function, name##_fentry, __u64, name(IN_SOCKET, ___bpf_ctx_cast(args)))          \
	CALLING("fentry/" #function, name##_fentry_in_table, __u64, name(IN_TABLE, ___bpf_ctx_cast(args)))  \
	CALLING("kprobe/" #function, name##_kprobe, struct pt_regs, name(IN_TABLE, ___bpf_kprobe_args(args))) \
	static __always_inline int name(enum where where, void *ctx, ##args)

/* What is known of a socket; NULL where nothing is. */
static __always_inline struct waiting *find_waiting(struct sock *sk, enum where where)
{
	__u64 address = (__u64)sk;

	if (where == IN_SOCKET)
		return bpf_sk_storage_get(&in_sockets, sk, NULL, 0);
	return bpf_map_lookup_elem(&in_table, &address);
}

/* The same, and room for it where there was none; NULL, and counted, where memory is short or the table full. */
static __always_inline struct waiting *make_waiting(struct sock *sk, enum where where)
{
	__u64 address = (__u64)sk;
	struct waiting *waiting, nothing = {};

	if (where == IN_SOCKET) {
		waiting = bpf_sk_storage_get(&in_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	} else {
		waiting = bpf_map_lookup_elem(&in_table, &address);
		if (!waiting) {
			bpf_map_update_elem(&in_table, &address, &nothing, BPF_NOEXIST);
			waiting = bpf_map_lookup_elem(&in_table, &address);
		}
	}
	if (!waiting)
		__sync_fetch_and_add(&uncounted, 1);
	return waiting;
}

/* The protocol of a socket of the Internet, or 0: netlink's protocols have the same numbers. */
static __always_inline __u16 protocol_of(const struct sock *sk, enum where where)
{
	__u16 family = MEMBER(where, sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6 ? MEMBER(where, sk, sk_protocol) : 0;
}

/* The socket as one of TCP, or NULL where it is none. */
static __always_inline const struct tcp_sock *tcp_of(struct sock *sk, enum where where)
{
	if (where == IN_SOCKET)
		return bpf_skc_to_tcp_sock(sk);
	return protocol_of(sk, where) == IPPROTO_TCP ? (const struct tcp_sock *)sk : NULL;
}

/* Not inlined in the path of all data, since it rarely runs. `writer` is NULL where it is the current process. */
static __noinline int emit(const struct sock *sk, __u32 kind, __u64 now, __u64 latency_ns, struct waiting *writer)
{
	struct netns_id netns = netns_id(netns_of_socket(sk));
	struct occurrences *entry = count_latency(netns, kind, now, latency_ns);
	struct socketlatency_event *event;

	if (!entry)
		return 0;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return 0;
	begin_event(&event->header, entry, netns, kind, now);
	__builtin_memset(&event->flow, 0, sizeof(event->flow));
	flow_of_socket(&event->flow, sk, BPF_CORE_READ(sk, sk_protocol));
	event->latency_ns = latency_ns;
	if (writer) {
		event->pid = writer->writer_pid;
		__builtin_memcpy(event->command, writer->writer_command, sizeof(event->command));
	} else {
		event->pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(event->command, sizeof(event->command));
	}
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* --- Reading */

/* Datagrams go from the first queue to the second in one piece, when that is empty. */
static __always_inline bool has_datagrams(struct sock *sk, enum where where, __u32 more_than)
{
	return MEMBER(where, sk, sk_receive_queue.qlen) > more_than ||
	       BPF_CORE_READ((struct udp_sock *)sk, reader_queue.qlen);
}

/*
 * Nothing reports the end of a UDP socket, so its entry in the table may be left of another at the same
 * address: the first datagram in the queue begins again.
 */
static __always_inline bool is_of_another(struct sock *sk, __u16 protocol, enum where where)
{
	return where == IN_TABLE && protocol == IPPROTO_UDP && !has_datagrams(sk, where, 1);
}

/* From now on data are unread, unless some were before. */
static __always_inline int note_unread(struct sock *sk, enum where where)
{
	__u16 protocol = protocol_of(sk, where);
	struct waiting *waiting;

	/* To a listener come connections, not data. */
	if (protocol != IPPROTO_UDP &&
	    (protocol != IPPROTO_TCP || MEMBER(where, sk, __sk_common.skc_state) == TCP_LISTEN))
		return 0;
	waiting = make_waiting(sk, where);
	if (waiting && (!waiting->unread_since || is_of_another(sk, protocol, where)))
		waiting->unread_since = bpf_ktime_get_ns();
	return 0;
}

static __always_inline bool has_unread(struct sock *sk, __u16 protocol, enum where where)
{
	const struct tcp_sock *tcp;

	if (protocol == IPPROTO_UDP)
		return has_datagrams(sk, where, 0);
	tcp = tcp_of(sk, where);
	return tcp && MEMBER(where, tcp, rcv_nxt) != MEMBER(where, tcp, copied_seq);
}

/*
 * Datagrams come while others are read, since no lock keeps these apart as it does with TCP. So the moment is
 * cleared first: what comes after that sets it again, and what came before is seen in the queue.
 */
static __always_inline int data_read(struct sock *sk, __u16 protocol, enum where where)
{
	struct waiting *waiting = find_waiting(sk, where);
	__u64 now, since;

	if (!waiting || !waiting->unread_since)
		return 0;
	since = waiting->unread_since;
	now = bpf_ktime_get_ns();
	*(volatile __u64 *)&waiting->unread_since = 0;
	if (has_unread(sk, protocol, where) && !*(volatile __u64 *)&waiting->unread_since)
		waiting->unread_since = now;
	if (is_slow(READ, now - since))
		emit(sk, READ, now, now - since, NULL);
	return 0;
}

/* Since 6.3. */
AT_TRACEPOINT(sk_data_ready, data_ready, struct sock *sk)
{
	return note_unread(sk, where);
}

/* The function with that tracepoint, which wakes whoever waits for data. */
AT_ENTRY_BY_WHERE(sock_def_readable, data_arrived, struct sock *sk)
{
	return note_unread(sk, where);
}

/* After each piece that was copied to a program, spliced, or looked at (MSG_PEEK): its program has come. */
AT_TRACEPOINT(tcp_rcv_space_adjust, stream_read, struct sock *sk)
{
	return data_read(sk, IPPROTO_TCP, where);
}

#define MSG_ERRQUEUE 0x2000

/* Since 6.3: after each recvmsg() of any socket. */
AT_TRACEPOINT(sock_recv_length, message_read, struct sock *sk, int result, int flags)
{
	if (result < 0 || flags & MSG_ERRQUEUE || protocol_of(sk, where) != IPPROTO_UDP)
		return 0;
	return data_read(sk, IPPROTO_UDP, where);
}

AT_ENTRY_BY_WHERE(skb_consume_udp, datagram_read, struct sock *sk)
{
	return data_read(sk, IPPROTO_UDP, where);
}

/* What is in the table does not end with its socket. */
SEC("raw_tp/tcp_destroy_sock")
int BPF_PROG(forget_socket, struct sock *sk)
{
	__u64 address = (__u64)sk;

	bpf_map_delete_elem(&in_table, &address);
	return 0;
}

/* --- Writing */

/*
 * Mostly what is written goes out at once, and leaves nothing here. What does not is noticed when the program
 * has written it, or before it has to wait in the midst of a long write: then its wait begins.
 *
 * No lock need be held here, and another CPU may be sending the last of it. Then a moment is set for
 * which nothing waits: packet_handed_on() knows that by unsent_from.
 */
static __always_inline int note_unsent(struct sock *sk, enum where where)
{
	const struct tcp_sock *tcp = tcp_of(sk, where);
	struct waiting *waiting;
	__u32 next;

	if (!tcp)
		return 0;
	next = MEMBER(where, tcp, snd_nxt);
	if (MEMBER(where, tcp, write_seq) == next)
		return 0;
	waiting = make_waiting(sk, where);
	if (!waiting || (waiting->unsent_since && waiting->unsent_from == next))
		return 0;
	waiting->unsent_from = next;
	waiting->unsent_since = bpf_ktime_get_ns();
	waiting->writer_pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(waiting->writer_command, sizeof(waiting->writer_command));
	return 0;
}

/* The sequence number after the data of a packet, if it has any from `next` on; else `next`. */
static __always_inline __u32 end_of_new_data(struct sk_buff *skb, __u32 next, enum where where)
{
	__u32 header_at = MEMBER(where, skb, transport_header), data_at, end;
	unsigned char *head = MEMBER(where, skb, head);
	struct tcp_header header;

	if (bpf_probe_read_kernel(&header, sizeof(header), head + header_at))
		return next;
	data_at = MEMBER(where, skb, data) - head;
	end = bpf_ntohl(header.sequence) + MEMBER(where, skb, len) + data_at - header_at - header_length(&header);
	return (__s32)(end - next) > 0 ? end : next;
}

/*
 * A packet is at its device. An acknowledgment, a probe of a closed window or a retransmission is no progress:
 * only data that have not been sent before are. snd_nxt still is what it was before this packet.
 */
static __always_inline int packet_handed_on(struct sk_buff *skb, struct sock *sk, enum where where)
{
	/* Not by bpf_skc_to_tcp_sock(), which accepts no socket that a packet leads to. */
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	struct waiting *waiting = find_waiting(sk, where);
	__u64 now, since;
	__u32 next, end;

	if (!waiting || !waiting->unsent_since)
		return 0;
	next = BPF_CORE_READ(tcp, snd_nxt);
	end = end_of_new_data(skb, next, where);
	if (end == next)
		return 0;
	since = waiting->unsent_from == next ? waiting->unsent_since : 0;
	now = bpf_ktime_get_ns();
	waiting->unsent_from = end;
	waiting->unsent_since = end == BPF_CORE_READ(tcp, write_seq) ? 0 : now;
	if (since && is_slow(SEND, now - since))
		emit(sk, SEND, now, now - since, waiting);
	return 0;
}

/* Since 6.16: before each piece that is copied from a program, and so before each wait for room. */
AT_TRACEPOINT(tcp_sendmsg_locked, piece_written, struct sock *sk)
{
	return note_unsent(sk, where);
}

/* Where that tracepoint is missing: the wait for room itself. */
AT_ENTRY_BY_WHERE(sk_stream_wait_memory, data_written, struct sock *sk)
{
	return note_unsent(sk, where);
}

/* Since 6.3: after each sendmsg() of any socket. */
AT_TRACEPOINT(sock_send_length, all_written, struct sock *sk)
{
	return note_unsent(sk, where);
}

SEC("fexit/tcp_sendmsg")
int BPF_PROG(all_written_fexit, struct sock *sk)
{
	return note_unsent(sk, IN_SOCKET);
}

SEC("fexit/tcp_sendmsg")
int BPF_PROG(all_written_fexit_in_table, struct sock *sk)
{
	return note_unsent(sk, IN_TABLE);
}

/*
 * Before the last piece goes out, so that a wait begins with each write and mostly ends at once. Not a kretprobe of
 * tcp_sendmsg: the kernel follows as many calls at a time as it has CPUs, and who waits for room keeps one of them.
 */
SEC("kprobe/tcp_push")
int BPF_KPROBE(all_written_kprobe, struct sock *sk)
{
	return note_unsent(sk, IN_TABLE);
}

AT_TRACEPOINT(net_dev_queue, handed_on, struct sk_buff *skb)
{
	struct sock *sk = MEMBER(where, skb, sk);

	return sk ? packet_handed_on(skb, sk, where) : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
