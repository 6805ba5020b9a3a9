// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which network namespace a file is, for where namespaces cannot be walked in the kernel. */
#include "netns.h"
#include "own_file.h"

/* What `identify` found. */
__u64 cookie;
__u32 inode;

/* Run with the descriptor of /proc/PID/ns/net, whose inode leads to the namespace (fs/nsfs.c). */
SEC("raw_tp")
int identify(void *ctx)
{
	void *in_net = BPF_CORE_READ(own_file(), f_inode, i_private);
	struct net *net = in_net - bpf_core_field_offset(struct net, ns);
	struct netns_id id;

	if (!is_netns(net))
		return 1;
	id = netns_id(net);
	cookie = id.cookie;
	inode = id.inode;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
