"""TCP counters of each namespace (RFC 4022): connections opened, failed and reset, segments in and out."""

from __future__ import annotations

from otel_netagent.probing.mib import WALK_COST, counter, gauge, mib_probe

PROBE = mib_probe(
    "tcp",
    "connections opened, failed and reset, segments in and out",
    counter(
        "tcpactiveopens",
        ("Tcp", "ActiveOpens"),
        "{connection}",
        "connections opened by this side (SYNs, without retransmits)",
        "tcpactiveopenes",
    ),
    counter(
        "tcppassiveopens",
        ("Tcp", "PassiveOpens"),
        "{connection}",
        "handshakes completed and a socket allocated: new inbound connections",
        "tcppassiveopenes",
    ),
    counter("tcpretranssegs", ("Tcp", "RetransSegs"), "{segment}", "segments retransmitted (after TSO)"),
    counter(
        "tcpestabresets",
        ("Tcp", "EstabResets"),
        "{connection}",
        "connections closed abnormally from ESTABLISHED or CLOSE_WAIT",
    ),
    counter("tcpoutrsts", ("Tcp", "OutRsts"), "{segment}", "RSTs sent"),
    gauge("tcpcurrestab", ("Tcp", "CurrEstab"), "{connection}", "connections now ESTABLISHED or CLOSE_WAIT"),
    counter("tcpattemptfails", ("Tcp", "AttemptFails"), "1", "connection attempts that failed"),
    counter("tcpinsegs", ("Tcp", "InSegs"), "{segment}", "segments received"),
    counter("tcpoutsegs", ("Tcp", "OutSegs"), "{segment}", "segments sent, without those only retransmitted"),
    counter("tcpinerrs", ("Tcp", "InErrs"), "1", "segments received in error"),
    cost=WALK_COST,
)
