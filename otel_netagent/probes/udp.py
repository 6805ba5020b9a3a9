"""UDP counters of each namespace, of IPv4 (RFC 4113): datagrams in and out, and why some were not delivered."""

from __future__ import annotations

from otel_netagent.probing.mib import WALK_COST, counter, mib_probe

PROBE = mib_probe(
    "udp",
    "datagrams in and out, and why some were not delivered",
    counter("udpindatagrams", ("Udp", "InDatagrams"), "{datagram}", "datagrams received"),
    counter("udpsndbuferrors", ("Udp", "SndbufErrors"), "{datagram}", "datagrams that could not be sent: send buffer"),
    counter("udpincsumerrors", ("Udp", "InCsumErrors"), "{datagram}", "datagrams received with a bad checksum"),
    counter("udpignoredmulti", ("Udp", "IgnoredMulti"), "{datagram}", "multicast datagrams ignored"),
    counter(
        "udpnoports", ("Udp", "NoPorts"), "{datagram}", "datagrams received for which __udp4_lib_rcv found no socket"
    ),
    counter("udpinerrors", ("Udp", "InErrors"), "{datagram}", "datagrams received in error"),
    counter("udpoutdatagrams", ("Udp", "OutDatagrams"), "{datagram}", "datagrams sent"),
    counter("udprcvbuferrors", ("Udp", "RcvbufErrors"), "{datagram}", "datagrams not queued: receive buffer full"),
    cost=WALK_COST,
)
