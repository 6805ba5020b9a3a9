// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Control commands of virtio-net devices: how long each took. The driver waits for the hypervisor's answer in a busy
 * loop, and holds the lock of all network configuration (RTNL) meanwhile, as a rule.
 */
#include "delay.h"
#include "histogram.h"

enum command_kind {
	COMMAND_SLOW,
	COMMAND_100MS,
};

struct virtcmdlat_event {
	struct event_header header; /* kind: enum command_kind */
	struct delay delay;         /* the process is the one that sent the command */
	__u32 command_class;        /* VIRTIO_NET_CTRL_* (include/uapi/linux/virtio_net.h) */
	__u32 command;
};

EXPORT_LAYOUT(virtcmdlat_event);

/* Duration above which an event is emitted; all are counted. Set at any time, and no event is emitted until then. */
__u64 event_above_ns = NEVER;

/* Commands of more than 10 ms, and of more than 100 ms. */
__u64 slower_than_10ms, slower_than_100ms;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} durations SEC(".maps");

struct command {
	__u64 started;
	__u32 command_class;
	__u32 command;
};

/* By thread: a thread sends one command at a time, and may change its CPU while it waits. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct command);
} in_progress SEC(".maps");

static __always_inline int command_begins(__u8 command_class, __u8 command)
{
	struct command begun = { .command_class = command_class, .command = command };
	__u64 thread = bpf_get_current_pid_tgid();

	begun.started = bpf_ktime_get_ns();
	bpf_map_update_elem(&in_progress, &thread, &begun, BPF_ANY);
	return 0;
}

static __always_inline void emit(const struct command *command, __u64 now, __u64 latency_ns)
{
	__u32 kind = kind_of_delay(COMMAND_SLOW, latency_ns);
	struct occurrences *entry = count_delay(kind, now);
	struct virtcmdlat_event *event;

	if (!entry)
		return;
	event = reserve_event(entry, sizeof(*event));
	if (!event)
		return;
	begin_delay(&event->header, &event->delay, entry, kind, now, latency_ns);
	event->command_class = command->command_class;
	event->command = command->command;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline int command_ends(void)
{
	__u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), latency_ns;
	struct command *command = bpf_map_lookup_elem(&in_progress, &thread);
	struct histogram *histogram;
	__u32 zero = 0;

	/* It began before we watched. */
	if (!command)
		return 0;
	latency_ns = now - command->started;
	histogram = bpf_map_lookup_elem(&durations, &zero);
	if (histogram)
		observe(histogram, latency_ns);
	if (latency_ns > 10 * MILLISECOND_NS)
		__sync_fetch_and_add(&slower_than_10ms, 1);
	if (latency_ns > 100 * MILLISECOND_NS)
		__sync_fetch_and_add(&slower_than_100ms, 1);
	if (latency_ns > event_above_ns)
		emit(command, now, latency_ns);
	bpf_map_delete_elem(&in_progress, &thread);
	return 0;
}

/* Entry and exit of a function of the driver, which all have the same first arguments. */
#define AROUND(function)                                                                                \
	AT_ENTRY(function, function, void *device, __u8 command_class, __u8 command)                    \
	{                                                                                               \
		return command_begins(command_class, command);                                          \
	}                                                                                               \
	SEC("fexit/" #function)                                                                         \
	int BPF_PROG(function##_fexit)                                                                  \
	{                                                                                               \
		return command_ends();                                                                  \
	}                                                                                               \
	SEC("kretprobe/" #function)                                                                     \
	int BPF_KRETPROBE(function##_kretprobe)                                                         \
	{                                                                                               \
		return command_ends();                                                                  \
	}

/* One of them is watched: probes/virtcmdlat.py knows which. */
AROUND(virtnet_send_command_reply)
AROUND(virtnet_send_command)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
