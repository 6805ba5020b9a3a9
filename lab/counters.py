"""The kernel's counters of a namespace, read from procfs without any code of the agent."""

from __future__ import annotations

from collections.abc import Mapping

from lab.namespace import Namespace


def counters(namespace: Namespace) -> Mapping[str, int]:
    """All counters of a namespace, as `Tcp.OutRsts`, `TcpExt.ListenDrops`, `Udp6NoPorts` (proc_net(5))."""
    found: dict[str, int] = {}
    for file in ("snmp", "netstat"):
        lines = namespace.proc_net(file).splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, *columns = names.split()
            found |= {
                group[:-1] + "." + name: int(value) for name, value in zip(columns, values.split()[1:], strict=True)
            }
    for line in namespace.proc_net("snmp6").splitlines():
        name, value = line.split()
        found[name] = int(value)
    return found
