// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A trial of types that come from a file: are they the running kernel's? Reads by them what the process that
 * runs this (by BPF_PROG_TEST_RUN) knows of itself, along a path that leads through most of what probes read:
 * from its task to its socket, and to a datagram that waits there.
 */
#include "netns.h"
#include "own_file.h"

/* What is found by the types; where a pointer on the path is NULL, zeros. */
__u64 thread; /* as bpf_get_current_pid_tgid() */
__u32 netns;  /* number of the namespace's inode */
__u32 port;
__u32 protocol;
__u32 length; /* bytes of the datagram */
__u64 content; /* its first bytes */

/* The same as `thread`, by the kernel's own helper: numbers that hold in every PID namespace. */
__u64 known_thread;

static __always_inline void read_datagram(struct sk_buff *skb)
{
	length = BPF_CORE_READ(skb, len);
	bpf_probe_read_kernel(&content, sizeof(content), BPF_CORE_READ(skb, data));
}

static __always_inline void read_socket(struct file *file)
{
	struct socket *socket = (struct socket *)BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);

	port = BPF_CORE_READ(sk, __sk_common.skc_num);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	read_datagram(BPF_CORE_READ(sk, sk_receive_queue.next));
}

/* Run with the descriptor of a UDP socket in which a datagram waits. */
SEC("raw_tp")
int try_types(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);

	known_thread = bpf_get_current_pid_tgid();
	thread = (__u64)BPF_CORE_READ(task, tgid) << 32 | (__u32)BPF_CORE_READ(task, pid);
	if (is_netns(net))
		netns = BPF_CORE_READ(net, ns.inum);
	read_socket(own_file());
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
