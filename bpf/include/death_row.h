/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a namespace counts its TCP sockets in TIME_WAIT, which leads to the tables of all its sockets. */
#pragma once

#include "probe.h"

/* From 5.18 (fbb8295248e1) until 6.1 (e9bd0cca09d1) it stood elsewhere. */
struct netns_ipv4___elsewhere {
	struct inet_timewait_death_row *tcp_death_row;
} __attribute__((preserve_access_index));

struct net___elsewhere {
	struct netns_ipv4___elsewhere ipv4;
} __attribute__((preserve_access_index));

static __always_inline struct inet_timewait_death_row *death_row_of(struct net *net)
{
	struct net___elsewhere *other = (void *)net;

	if (bpf_core_field_exists(other->ipv4.tcp_death_row))
		return BPF_CORE_READ(other, ipv4.tcp_death_row);
	return __builtin_preserve_access_index(&net->ipv4.tcp_death_row);
}
