"""IPv4 packets of each namespace that came in and went nowhere (RFC 4293). The rest of IP is in the probe mib."""

from __future__ import annotations

from otel_netagent.probing.mib import WALK_COST, counter, mib_probe

PROBE = mib_probe(
    "ip",
    "IPv4 packets received that had no route or were cut short",
    counter("ipinnoroutes", ("IpExt", "InNoRoutes"), "{packet}", "packets received for which there was no route"),
    counter(
        "ipintruncatedpkts",
        ("IpExt", "InTruncatedPkts"),
        "{packet}",
        "packets received with less data than their header says",
    ),
    cost=WALK_COST,
)
