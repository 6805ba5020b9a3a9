#!/bin/sh
# Runs a command in a guest whose kernel has headers, but no BTF. Its BTF is kept at /run/own.btf for comparison.
#
# usage: tests/vm/without_btf.sh HEADERS COMMAND...
#
# HEADERS is what tests/vm/headers.py has unpacked.

set -e

headers=$1
shift
modules=/lib/modules/$(uname -r)

cp /sys/kernel/btf/vmlinux /run/own.btf
mount -t tmpfs hidden /sys/kernel/btf
mount -t tmpfs hidden /boot

mkdir -p /run/modules/upper /run/modules/work
mount -t overlay -o "lowerdir=$modules,upperdir=/run/modules/upper,workdir=/run/modules/work" modules "$modules"
cp -P "$headers/$modules/build" "$headers/$modules/source" "$modules"
mount --bind "$headers/usr/src" /usr/src

exec "$@"
