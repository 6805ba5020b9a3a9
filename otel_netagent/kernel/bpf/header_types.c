/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's types that programs of bpf/ read and that can be had without its BTF: compiled by BCC against the
 * kernel's headers (header_compiler.py), so that the compiler writes BTF of them. What iterators alone read is left out,
 * and so is enum bpf_func_id: BCC puts a <linux/bpf.h> of its own before the kernel's.
 */
#include <generated/utsrelease.h>

_Static_assert(__builtin_strcmp(UTS_RELEASE, RUNNING_RELEASE) == 0, "these are headers of another kernel");

#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/skbuff.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/trace_events.h>
#include <linux/tracepoint.h>
#include <linux/udp.h>
#include <net/inet_timewait_sock.h>
#include <net/net_namespace.h>
#include <net/sch_generic.h>
#include <net/sock.h>
#include <net/tcp.h>
#if __has_include(<net/dropreason-core.h>) /* 6.4 (5b8285cca6fe), with reasons of subsystems (071c0fc6fb91) */
#include <net/dropreason.h>
#define WITH_SUBSYSTEMS
#endif

/*
 * Of a tracepoint the structure alone: what trace/trace_events.h makes of it first, which modules of the kernel have
 * and programs for BPF do not. One that is like others has none of its own, and so gets no members.
 */
#undef TRACE_EVENT
#undef DECLARE_EVENT_CLASS
#undef DEFINE_EVENT
#undef TP_STRUCT__entry
#define TRACE_EVENT(name, proto, args, members, assign, print) \
	struct trace_event_raw_##name {                        \
		struct trace_entry ent;                        \
		members                                        \
		char __data[];                                 \
	};
#define DECLARE_EVENT_CLASS TRACE_EVENT
#define DEFINE_EVENT(class, name, proto, args) \
	struct trace_event_raw_##name {        \
	};
#define TP_STRUCT__entry(members...) members
#define __field(type, name) type name;
#define __array(type, name, length) type name[length];

#include <trace/events/skb.h>
#include <trace/events/tcp.h>

/* In whole, not by pointers: of what is only pointed to the compiler writes no more than the name. */
struct kernel_types {
	struct Qdisc qdisc;
	struct dst_entry route;
	struct fdtable descriptors;
	struct file file;
	struct files_struct files;
	struct inode inode;
	struct inet_timewait_sock time_wait;
	struct net namespace;
	struct net_device device;
	struct nsproxy namespaces;
	struct sk_buff packet;
	struct socket socket;
	struct task_struct task;
	struct tcp_request_sock half_open;
	struct tcp_skb_cb segment;
	struct tcp_sock tcp;
	struct tcp_timewait_sock tcp_time_wait;
	struct trace_event_raw_kfree_skb at_drop;
	struct trace_event_raw_tcp_retransmit_skb at_retransmission;
	struct trace_event_raw_tcp_send_reset at_reset;
	struct udp_sock udp;
#ifdef WITH_SUBSYSTEMS
	enum skb_drop_reason_subsys subsystem;
#endif
};

/* A program brings its BTF into the kernel. This one is loaded for that, and never run. */
int show(struct kernel_types *types)
{
	return 0;
}
