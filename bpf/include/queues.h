/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether packets can queue before a device of a namespace: most pods have no such queue, and are not asked. */
#pragma once

#include "probe.h"

struct queue_facts {
	__u64 any; /* 1: some device but lo has a qdisc that netlink shows and that holds packets */
};

/* Of a namespace with more devices no more are looked at; it is taken for one with queues. */
#define DEVICES_MAX 256

#define TCQ_F_BUILTIN 1 /* include/net/sch_generic.h: that of a device that is down, shown by nobody */

static __always_inline bool has_queues(struct net *net)
{
	struct list_head *end = __builtin_preserve_access_index(&net->dev_base_head);
	struct list_head *entry = BPF_CORE_READ(net, dev_base_head.next);
	struct net_device *lo = BPF_CORE_READ(net, loopback_dev);

	for (int i = 0; i < DEVICES_MAX; i++) {
		struct net_device *device;
		struct Qdisc *qdisc;

		if (entry == end)
			return false;
		device = (void *)entry - bpf_core_field_offset(struct net_device, dev_list);
		qdisc = BPF_CORE_READ(device, qdisc);
		/* The one called noqueue has no such function (noqueue_init in net/sched/sch_generic.c). */
		if (device != lo && !(BPF_CORE_READ(qdisc, flags) & TCQ_F_BUILTIN) && BPF_CORE_READ(qdisc, enqueue))
			return true;
		entry = BPF_CORE_READ(entry, next);
	}
	return true;
}
