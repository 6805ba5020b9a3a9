#!/bin/busybox sh
# First process of a guest, from the initramfs: makes a system of the host's files, and lets it run the job.
#
# The host's root comes read-only under a tmpfs that takes what is written. It is mounted so at once, since the
# daemon that serves it cannot refuse to write. A second share, /run/vm, brings the job in and its results out.

set -e
/bin/busybox --install -s /bin

mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
mount -t proc proc /proc

for module in /modules/*; do
    insmod "$module"
done

mount -t tmpfs overlay /overlay
mkdir /overlay/upper /overlay/work
mount -t virtiofs -o ro root /lower
mount -t overlay -o lowerdir=/lower,upperdir=/overlay/upper,workdir=/overlay/work overlay /root

mount -t tmpfs run /root/run
mkdir /root/run/vm
mount -t virtiofs job /root/run/vm

mount --move /proc /root/proc
mount --move /dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t sysfs sys /root/sys
mount -t bpf bpf /root/sys/fs/bpf
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount -t debugfs debugfs /root/sys/kernel/debug
mount -t tracefs tracefs /root/sys/kernel/tracing

# Not chroot: the kernel looks for modprobe where the root of its first process is.
exec switch_root /root /bin/busybox sh /run/vm/first.sh
