// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A trial of types that come from a file: are they the running kernel's? Reads by them what the process that
 * runs this (by BPF_PROG_TEST_RUN) knows of itself, along the way that leads through most of what probes read:
 * from its task to its socket, and to a datagram that waits there.
 */
#include "netns.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct file___trial {
	void *private_data;
};

struct socket___trial {
	struct sock *sk;
};

struct sk_buff_head___trial {
	struct sk_buff *next;
};

struct sock___trial {
	struct sk_buff_head___trial sk_receive_queue;
};

#pragma clang attribute pop

/* Set before the program is loaded: a UDP socket of the process, in which a datagram waits. */
const volatile __u32 socket_fd;

/* What is found by the types; where the way ends too early, zeros. */
__u64 thread; /* as bpf_get_current_pid_tgid() */
__u32 netns;  /* number of the namespace's inode */
__u32 port;
__u32 protocol;
__u32 length; /* bytes of the datagram */
__u64 content; /* its first bytes */

/* What the kernel itself says of `thread`: numbers that hold in every PID namespace. */
__u64 known_thread;

static __always_inline void read_datagram(struct sk_buff *skb)
{
	length = BPF_CORE_READ(skb, len);
	bpf_probe_read_kernel(&content, sizeof(content), BPF_CORE_READ(skb, data));
}

static __always_inline void read_socket(struct file *file)
{
	struct socket___trial *socket = BPF_CORE_READ((struct file___trial *)file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);

	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	read_datagram(BPF_CORE_READ((struct sock___trial *)sk, sk_receive_queue.next));
}

SEC("raw_tp")
int try_types(void *context)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	struct file **files = BPF_CORE_READ(task, files, fdt, fd);
	struct file *file = NULL;

	known_thread = bpf_get_current_pid_tgid();
	thread = (__u64)BPF_CORE_READ(task, tgid) << 32 | (__u32)BPF_CORE_READ(task, pid);
	if (is_netns(net))
		netns = BPF_CORE_READ(net, ns.inum);
	bpf_probe_read_kernel(&file, sizeof(file), files + socket_fd);
	read_socket(file);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
