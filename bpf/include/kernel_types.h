/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's types, as far as they are read. Each is a CO-RE flavour: member names are the kernel's,
 * offsets are put in when the program is loaded, and what a kernel lacks is asked for by
 * bpf_core_field_exists(). Anonymous unions and structures of the kernel are left out: CO-RE looks through them.
 */
#pragma once

#include <linux/types.h>
#include <stdbool.h>

#define TASK_COMM_LEN 16 /* include/linux/sched.h */
#define IFNAMSIZ 16      /* include/uapi/linux/if.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct list_head {
	struct list_head *next;
};

struct ns_common {
	unsigned int inum;
};

struct linux_mib {
	unsigned long mibs[1];
};

struct tcp_mib {
	unsigned long mibs[1];
};

struct udp_mib {
	unsigned long mibs[1];
};

struct ipstats_mib {
	__u64 mibs[1];
};

struct icmp_mib {
	unsigned long mibs[1];
};

struct icmpv6_mib {
	unsigned long mibs[1];
};

/* Messages by type; one copy for all CPUs. */
struct icmpmsg_mib {
	long mibs[1];
};

struct icmpv6msg_mib {
	long mibs[1];
};

struct netns_mib {
	struct ipstats_mib *ip_statistics;
	struct tcp_mib *tcp_statistics;
	struct linux_mib *net_statistics;
	struct udp_mib *udp_statistics;
	struct icmp_mib *icmp_statistics;
	struct icmpmsg_mib *icmpmsg_statistics;
	/* CONFIG_IPV6 */
	struct ipstats_mib *ipv6_statistics;
	struct udp_mib *udp_stats_in6;
	struct icmpv6_mib *icmpv6_statistics;
	struct icmpv6msg_mib *icmpv6msg_statistics;
};

struct inet_ehash_bucket;
struct inet_listen_hashbucket;

/* Where the kernel finds TCP sockets by their addresses. A namespace may have one of its own (6.1, d1e5e6408b30). */
struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
	/* Listening sockets, since 5.19 (cae3873c5b3a). */
	struct inet_listen_hashbucket *lhash2;
	unsigned int lhash2_mask;
};

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
	refcount_t tw_refcount; /* 5.18 (fbb8295248e1) */
	atomic_t tw_count;
};

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
};

/* Sockets in use by the number of their protocol (CONFIG_PROC_FS). */
struct prot_inuse {
	int val[1];
};

struct netns_core {
	struct prot_inuse *prot_inuse;
};

struct ip_conntrack_stat {
	unsigned int found;
	unsigned int invalid;
	unsigned int ignore;
	unsigned int insert;
	unsigned int insert_failed;
	unsigned int drop;
	unsigned int early_drop;
	unsigned int error;
	unsigned int search_restart;
};

struct netns_ct {
	struct ip_conntrack_stat *stat;
	atomic_t count; /* until 5.14 (c53bd0e96662) */
};

/* Begins a list of pointers, one for each module that keeps something in every namespace. */
struct net_generic {
	struct {
		unsigned int len;
	} s;
};

struct net {
	struct ns_common ns;
	struct list_head dev_base_head;
	__u32 hash_mix;
	struct net_generic *gen;
	struct netns_core core;
	struct netns_ct ct; /* CONFIG_NF_CONNTRACK */
	struct net_device *loopback_dev;
	struct netns_mib mib;
	struct netns_ipv4 ipv4;
	/* A number since 5.12 (3d368ab87cf6); before, an atomic64_t that is zero until somebody asks. */
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct Qdisc {
	void (*enqueue)(void); /* of other arguments; only whether there is one is asked */
	unsigned int flags;
};

struct net_device {
	char name[IFNAMSIZ];
	possible_net_t nd_net;
	struct list_head dev_list;
	struct Qdisc *qdisc;
};

struct dst_entry {
	struct net_device *dev;
};

struct in6_addr {
	__u8 bytes[16];
};

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};

struct hlist_nulls_node {
	struct hlist_nulls_node *next;
	struct hlist_nulls_node **pprev;
};

struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
};

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct proto *skc_prot;
	struct sock *skc_listener;
	struct hlist_nulls_node skc_nulls_node;
};

struct sk_buff_head {
	struct sk_buff *next;
	struct sk_buff *prev;
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	struct sk_buff_head sk_receive_queue;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
};

struct proto {
	unsigned int inuse_idx; /* CONFIG_PROC_FS */
};

struct socket {
	struct sock *sk;
};

/* What is left of a socket in FIN_WAIT2 or TIME_WAIT; its common part says TIME_WAIT for both. */
struct inet_timewait_sock {
	unsigned char tw_substate;
};

struct tcp_timewait_sock {
	__u32 tw_ts_recent;
};

struct inet_sock {
	__be16 inet_sport;
};

/* A half-open connection; it begins with a struct request_sock, and that with a struct sock_common. */
struct request_sock {
	struct sock_common __req_common;
	__u8 num_timeout : 7;
};

struct tcp_request_sock {
	__u32 rcv_isn;
	__u32 snt_isn;
};

struct request_sock_queue {
	__u8 rskq_defer_accept;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
	__u8 icsk_ca_state : 5;
	__u8 icsk_retransmits;
	__u8 icsk_pending;
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u32 last_oow_ack_time;
	__u32 srtt_us; /* eight times the smoothed round-trip time */
};

struct udp_sock {
	struct sk_buff_head reader_queue;
};

/* What TCP keeps in sk_buff.cb. */
struct tcp_skb_cb {
	__u32 seq;
	__u16 tcp_gso_segs;
};

struct sk_buff {
	struct sk_buff *next;
	struct sock *sk;
	struct net_device *dev;
	__s64 tstamp;
	unsigned long _skb_refdst;
	unsigned int len;
	char cb[48];
	__u8 pkt_type : 3;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	/* An offset from head on every 64-bit kernel. */
	unsigned int tail;
	unsigned char *head;
	unsigned char *data;
};

struct nsproxy {
	struct net *net_ns;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	void *i_private;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct ctl_table {
	void *data;
};

struct proc_inode {
	const struct ctl_table *sysctl_entry;
	struct inode vfs_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
	unsigned long *open_fds;
};

struct files_struct {
	struct fdtable *fdt;
};

/* Members by CONFIG_TASK_XACCT and CONFIG_TASK_IO_ACCOUNTING. */
struct task_io_accounting {
	__u64 syscr;
	__u64 syscw;
	__u64 read_bytes;
	__u64 write_bytes;
};

struct signal_struct {
	struct task_io_accounting ioac;
};

struct task_struct {
	int pid;
	int tgid;
	unsigned int flags;
	struct task_struct *group_leader;
	struct nsproxy *nsproxy;
	struct files_struct *files;
	struct signal_struct *signal;
	struct task_io_accounting ioac;
};

struct bpf_array {
	void *pptrs[1];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__bpf_map_elem {
	void *key;
};

/* The numbers are the running kernel's, by bpf_core_enum_value(). Members of this type must be declared
 * with it: asked for as an integer, CO-RE would find no such member. */
enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED,
	SKB_DROP_REASON_NO_SOCKET,
	SKB_DROP_REASON_TCP_RFC7323_TW_PAWS,
	SKB_DROP_REASON_TCP_OLD_SEQUENCE, /* 6.6 (b44693495af8); before, it was the next */
	SKB_DROP_REASON_TCP_INVALID_SEQUENCE,
	SKB_DROP_REASON_TCP_INVALID_END_SEQUENCE,
	SKB_DROP_REASON_TCP_ZEROWINDOW,
	SKB_DROP_REASON_TCP_LISTEN_OVERFLOW, /* 6.15 (a11a791ca81e) */
};

struct trace_event_raw_kfree_skb {
	enum skb_drop_reason reason; /* 5.17 (c504e5c2f964) */
	void *rx_sk;                 /* 6.11 (c53795d48ee8) */
};

enum sk_rst_reason {
	SK_RST_REASON_NOT_SPECIFIED,
};

struct trace_event_raw_tcp_send_reset {
	enum sk_rst_reason reason; /* 6.10 (ee01defe25ba) */
};

struct trace_event_raw_tcp_retransmit_skb {
	int err; /* 6.17 (ad892e912b84); before, the tracepoint reports only what was sent */
};

#pragma clang attribute pop

#define AF_INET 2
#define AF_INET6 10

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD

enum ip_protocol { /* those that programs distinguish; numbers of IANA's registry */
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_DCCP = 33,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_DSTOPTS = 60,
	IPPROTO_SCTP = 132,
	IPPROTO_UDPLITE = 136,
};

enum tcp_state { /* include/net/tcp_states.h; user space sees the numbers in inet_diag */
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};
