/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A file that user space has open, which leads to what has no name outside of the kernel: user space puts its
 * descriptor here, and runs, by BPF_PROG_TEST_RUN in the thread that opened it, a program that follows it.
 */
#pragma once

#include "probe.h"

__u32 descriptor;

static __always_inline struct file *own_file(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct file **files = BPF_CORE_READ(task, files, fdt, fd);
	struct file *file = NULL;

	bpf_probe_read_kernel(&file, sizeof(file), files + descriptor);
	return file;
}
