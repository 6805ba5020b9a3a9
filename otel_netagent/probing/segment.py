"""How a TCP segment is known again, and how it was lost: what joins its retransmission to its drop."""

from __future__ import annotations

from typing import Final

from otel_netagent.model.attribute import Attribute
from otel_netagent.probing.flow import DESTINATION_ADDRESS, DESTINATION_PORT, SOURCE_ADDRESS, SOURCE_PORT

TCP_SEQUENCE: Final = Attribute("netagent.tcp.sequence", int, "sequence number of the segment")

SAME_SEGMENT: Final = (SOURCE_ADDRESS, SOURCE_PORT, DESTINATION_ADDRESS, DESTINATION_PORT, TCP_SEQUENCE)
"""Two events that agree in these are of the same segment."""

DROP_REASON: Final = Attribute("netagent.drop.reason", str, "why the kernel dropped it, by its own name (Linux 5.17)")
DROP_LOCATION: Final = Attribute("netagent.drop.location", str, "function that dropped it")
RETRANSMITTED: Final = Attribute(
    "netagent.retransmission.segment", str, "what is sent again: SYN, SYN-ACK, DATA or FIN", before=" segment:"
)
