# First process of a guest once it has the host's files: runs the job, and switches off.
#
# The job's exit status is written last. Where there is none, the guest died before.

release=$(uname -r)
mkdir -p "/lib/modules/$release"
mount --bind /run/vm/modules "/lib/modules/$release"
hostname "linux-${release%%-*}"
ip link set lo up

# A host whose settings are unusual. What the laboratory's namespaces depend on, they must not inherit from it.
while read -r name value; do
    echo "$value" >"/proc/sys/net/$name"
done <<END
core/devconf_inherit_init_net 1
ipv4/ip_forward 1
ipv4/conf/all/rp_filter 1
ipv4/conf/all/route_localnet 1
ipv4/conf/default/rp_filter 1
ipv4/conf/default/arp_notify 1
ipv4/neigh/default/app_solicit 3
ipv4/neigh/default/unres_qlen_bytes 0
ipv4/tcp_congestion_control bbr
ipv4/tcp_max_tw_buckets 0
ipv4/tcp_rmem 4096 4096 4096
ipv4/tcp_wmem 4096 4096 4096
ipv6/conf/all/forwarding 1
ipv6/conf/default/disable_ipv6 1
ipv6/conf/default/force_forwarding 1
ipv6/conf/default/force_mld_version 1
ipv6/conf/default/hop_limit 1
ipv6/conf/default/ndisc_notify 1
ipv6/neigh/default/app_solicit 3
ipv6/neigh/default/unres_qlen_bytes 0
END

# What udev would do. Opening the last one loads its driver.
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mkdir /dev/net
mknod /dev/net/tun c 10 200
cat /sys/bus/virtio/devices/*/modalias | xargs /sbin/modprobe --all

setsid /bin/sh /run/vm/job.sh </dev/null >/run/vm/output 2>&1
echo $? >/run/vm/status
sync
poweroff -f
