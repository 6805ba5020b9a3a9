#!/bin/sh
# Sees to what otel-netagent needs of the system beyond Python packages: installs what is missing with apt where it may
# (root on Debian or a distribution made from it), and elsewhere says what to install, and fails.
#
# usage: tools/system-packages.sh run|test|vm|stack
#
# Every need is looked for by itself, not by a package's name: what came by another way is not installed again, and
# where nothing is missing, no package manager and no network is asked.
#
# Environment: PYTHON, CLANG, LLVM_STRIP name the commands to use; OS_RELEASE the file that names the distribution.

set -eu

PYTHON=${PYTHON:-python3}
CLANG=${CLANG:-clang}
LLVM_STRIP=${LLVM_STRIP:-llvm-strip}
OS_RELEASE=${OS_RELEASE:-/etc/os-release}
PATH=$PATH:/usr/sbin:/sbin # where `ip` and `nft` are, also for those who are not root

needs='python venv clang llvm-strip bpf/bpf_helpers.h linux/bpf.h libbpf.so.1 ip'
needs_of_tests='tc nft conntrack headers-of-aarch64 bcc'
needs_of_guests='qemu-system-x86_64 virtiofsd busybox cpio modprobe depmod setpriv lz4 zstd ipvsadm'
needs_of_stack='go'

# The package that has what is needed, by the distribution's package manager.
package_of() { # need, manager
    awk -v need="$1" -v manager="$2" '
        $1 == "need" { for (i = 2; i <= NF; i++) if ($i == manager) column = i }
        $1 == need { print $column }
    ' <<'END'
need                apt-get                     dnf                   zypper                           pacman                               apk
python              python3                     python3               python3                          python                               python3
venv                python3-venv                python3               python3                          python                               python3
clang               clang                       clang                 clang                            clang                                clang
llvm-strip          llvm                        llvm                  llvm                             llvm                                 llvm
bpf/bpf_helpers.h   libbpf-dev                  libbpf-devel          libbpf-devel                     libbpf                               libbpf-dev
linux/bpf.h         linux-libc-dev              kernel-headers        linux-glibc-devel                linux-api-headers                    linux-headers
libbpf.so.1         libbpf1                     libbpf                libbpf1                          libbpf                               libbpf
ip                  iproute2                    iproute               iproute2                         iproute2                             iproute2
tc                  iproute2                    iproute-tc            iproute2                         iproute2                             iproute2-tc
nft                 nftables                    nftables              nftables                         nftables                             nftables
conntrack           conntrack                   conntrack-tools       conntrack-tools                  conntrack-tools                      conntrack-tools
headers-of-aarch64  linux-libc-dev-arm64-cross  kernel-cross-headers  cross-aarch64-linux-glibc-devel  aarch64-linux-gnu-linux-api-headers  linux-headers
bcc                 python3-bpfcc               python3-bcc           python3-bcc                      python-bcc                           py3-bcc
qemu-system-x86_64  qemu-system-x86             qemu-system-x86       qemu-x86                         qemu-system-x86                      qemu-system-x86_64
virtiofsd           qemu-system-common          virtiofsd             virtiofsd                        virtiofsd                            virtiofsd
busybox             busybox-static              busybox               busybox-static                   busybox                              busybox-static
cpio                cpio                        cpio                  cpio                             cpio                                 cpio
modprobe            kmod                        kmod                  kmod                             kmod                                 kmod
depmod              kmod                        kmod                  kmod                             kmod                                 kmod
setpriv             util-linux                  util-linux            util-linux                       util-linux                           setpriv
lz4                 lz4                         lz4                   lz4                              lz4                                  lz4
zstd                zstd                        zstd                  zstd                             zstd                                 zstd
ipvsadm             ipvsadm                     ipvsadm               ipvsadm                          ipvsadm                              ipvsadm
go                  golang-go                   golang                go                               go                                   go
END
}

is_there() { # need
    case $1 in
        python) command -v "$PYTHON" ;;
        venv) "$PYTHON" -c 'import ensurepip, venv' ;;
        clang) command -v "$CLANG" ;;
        llvm-strip) command -v "$LLVM_STRIP" ;;
        virtiofsd) command -v virtiofsd || command -v /usr/lib/qemu/virtiofsd || command -v /usr/libexec/virtiofsd ;;
        bcc) /usr/bin/python3 -c 'import bcc' ;; # for the system's Python alone: it is not on PyPI
        headers-of-aarch64) ls /usr/aarch64-linux-gnu/include/asm/ptrace.h || ls /usr/include/aarch64-linux-gnu/asm/ptrace.h ;;
        *.h) test -e "/usr/include/$1" ;;
        *.so.*) "$PYTHON" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing_of() { # needs
    for need in "$@"; do
        is_there "$need" || printf '%s ' "$need"
    done
}

# The package manager of this distribution or of the one that it is made from; nothing where that is not known.
package_manager() {
    # shellcheck source=/dev/null
    for id in $( (. "$OS_RELEASE" && echo "${ID:-} ${ID_LIKE:-}") 2>/dev/null); do
        case $id in
            debian | ubuntu) echo apt-get ;;
            fedora | rhel | centos | alinux | anolis | openEuler) echo dnf ;;
            suse | opensuse* | sles) echo zypper ;;
            arch) echo pacman ;;
            alpine) echo apk ;;
            *) continue ;;
        esac
        return
    done
}

install_command() { # manager
    case $1 in
        apt-get) echo 'apt-get install --no-install-recommends' ;;
        pacman) echo 'pacman -S' ;;
        apk) echo 'apk add' ;;
        *) echo "$1 install" ;;
    esac
}

fail() { # message
    echo "otel-netagent: $1" >&2
    exit 1
}

require_python_3_11() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is $("$PYTHON" --version), but 3.11 or newer is needed: install one and name it, as in: make setup PYTHON=python3.11"
}

install_with_apt() { # packages
    echo "otel-netagent: installing with apt-get: $*"
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq && apt-get install -qq --no-install-recommends "$@"; }; then
        fail "apt-get could not install $* (its messages are above); Debian 12 and Ubuntu 24.04 are the oldest releases that have them all"
    fi
}

case ${1:-} in
    run) ;;
    test) needs="$needs $needs_of_tests" ;;
    vm) needs=$needs_of_guests ;;
    stack) needs=$needs_of_stack ;;
    *) fail "usage: $0 run|test|vm|stack" ;;
esac

# An old Python is said first: what else is missing may not be worth installing beside it.
if is_there python; then
    require_python_3_11
fi

# shellcheck disable=SC2086 # a list of words
missing=$(missing_of $needs)
[ -n "$missing" ] || exit 0

manager=$(package_manager)
[ -n "$manager" ] || fail "not found on this system: ${missing% }; install them with its package manager, then try again"

packages=$(for need in $missing; do package_of "$need" "$manager"; done | sort -u | tr '\n' ' ')
packages=${packages% }
if [ "$manager" != apt-get ] || [ "$(id -u)" -ne 0 ]; then
    fail "not found on this system: ${missing% }; run this, then try again: sudo $(install_command "$manager") $packages"
fi

# shellcheck disable=SC2086 # a list of words
install_with_apt $packages
require_python_3_11
# shellcheck disable=SC2086 # a list of words
missing=$(missing_of $missing)
[ -z "$missing" ] || fail "not found on this system: ${missing% }, although apt-get installed $packages"
