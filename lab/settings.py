"""What a new namespace would inherit and the laboratory depends on: set, whatever the host has.

Linux copies these from the first namespace, or from the creator's. That is so in 5.10, 6.12 and 7.2: there each setting
was changed, and those of a new namespace were compared. All others begin with the kernel's own values. What the whole
machine shares (net.core.rmem_default, netdev_max_backlog, neigh/default/gc_thresh*, nf_conntrack_max, tcp_mem, udp_mem)
no namespace can set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SYS_NET: Final = Path("/proc/sys/net")
_SCOPES: Final = ("all", "default", "lo")
"""The loopback is there already, and has what `default` was when the namespace was made."""

_OF_INTERFACES: Final = {
    "ipv4/conf/{}/forwarding": 0,  # a host drops what is for another; a Docker or Kubernetes node forwards
    "ipv4/conf/{}/rp_filter": 0,  # on only where a test turns it on
    "ipv4/conf/{}/route_localnet": 0,  # 127.0.0.1 from outside is dropped
    "ipv4/conf/{}/bc_forwarding": 0,  # a broadcast ends at its host
    "ipv4/conf/{}/arp_notify": 0,  # nothing is sent that no test sends
    "ipv6/conf/{}/disable_ipv6": 0,  # both families are tested
    "ipv6/conf/{}/forwarding": 0,  # as in IPv4
    "ipv6/conf/{}/force_forwarding": 0,  # would forward in spite of that (Linux 6.17)
    "ipv6/conf/{}/hop_limit": 64,  # packets pass a router
    "ipv6/conf/{}/ndisc_notify": 0,  # as arp_notify
    "ipv6/conf/{}/force_mld_version": 0,  # reports go to ff02::16, by which tests know them
}
"""IPv6's are inherited only where net.core.devconf_inherit_init_net is 1 or 3."""

_OF_NAMESPACE: Final[dict[str, int | str]] = {
    "ipv4/tcp_congestion_control": "reno",  # sends what the window allows at once, without pacing (BBR), in any kernel
    "ipv4/tcp_max_tw_buckets": 4096,  # 0 leaves no TIME_WAIT
    "ipv4/tcp_rmem": "4096 131072 6291456",  # the windows that are advertised, and what a reader may leave unread
    "ipv4/tcp_wmem": "4096 16384 4194304",  # what a writer may leave unsent
}


def settle() -> None:
    """Set them in the namespace of the calling thread. A setting that this kernel lacks is inherited from nowhere."""
    for name, value in declared():
        setting = _SYS_NET / name
        if setting.exists():
            setting.write_text(str(value))


def declared() -> Iterator[tuple[str, int | str]]:
    """Each setting, as its path under /proc/sys/net, and its value."""
    yield from _OF_NAMESPACE.items()
    for pattern, value in _OF_INTERFACES.items():
        yield from ((pattern.format(scope), value) for scope in _SCOPES)
