"""The rest of the kernel's counters of TCP, UDP, IP and ICMP, IPv4 and IPv6: those that no other probe shows.

They come in the same pass of the kernel as the others. Opt-in, since there are several times as many of them,
which every output pays for. The names are those of /proc/net/{snmp,netstat,snmp6} of Linux 6.18; of these, a kernel
shows the ones that it has. Settings among them (Forwarding, DefaultTTL, RtoMin, MaxConn ...) are no counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otel_netagent.probing.mib import MibColumn, by_rule, mib_probe


@dataclass(frozen=True, slots=True)
class _Group:
    """Counters of one protocol. What counts octets has bytes for a unit, the others `unit`."""

    protocol: str
    unit: str
    names: str

    def series(self) -> Iterator[MibColumn]:
        for name in self.names.split():
            yield by_rule((self.protocol, name), "By" if name.endswith("Octets") else self.unit)


_GROUPS: Final = (
    _Group("Tcp", "{segment}", "InCsumErrors"),
    _Group("Udp", "{datagram}", "MemErrors"),
    _Group(
        "TcpExt",
        "1",
        """
        SyncookiesSent SyncookiesRecv SyncookiesFailed PruneCalled RcvPruned OfoPruned OutOfWindowIcmps
        LockDroppedIcmps ArpFilter TW TWRecycled TWKilled BeyondWindow TSEcrRejected PAWSOldAck PAWSTimewait
        DelayedACKs DelayedACKLocked DelayedACKLost TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery
        TCPSackRecovery TCPSACKReneging TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo TCPPartialUndo
        TCPDSACKUndo TCPLossUndo TCPLostRetransmit TCPRenoFailures TCPSackFailures TCPLossFailures
        TCPSlowStartRetrans TCPLossProbes TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail
        TCPRcvCollapsed TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv TCPDSACKOfoRecv
        TCPSACKDiscard TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo TCPSpuriousRTOs TCPMD5NotFound TCPMD5Unexpected
        TCPMD5Failure TCPSackShifted TCPSackMerged TCPSackShiftFallback TCPMinTTLDrop TCPDeferAcceptDrop
        IPReversePathFilter TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPRcvCoalesce TCPOFOQueue
        TCPOFODrop TCPOFOMerge TCPChallengeACK TCPSYNChallenge TCPFastOpenActive TCPFastOpenActiveFail
        TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenListenOverflow TCPFastOpenCookieReqd
        TCPFastOpenBlackhole TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking TCPFromZeroWindowAdv
        TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPOrigDataSent TCPHystartTrainDetect TCPHystartTrainCwnd
        TCPHystartDelayDetect TCPHystartDelayCwnd TCPDelivered TCPDeliveredCE TCPAckCompressed
        TCPFastOpenPassiveAltKey TcpTimeoutRehash TcpDuplicateDataRehash TCPDSACKRecvSegs TCPDSACKIgnoredDubious
        TCPMigrateReqSuccess TCPMigrateReqFailure TCPPLBRehash TCPAORequired TCPAOBad TCPAOKeyNotFound TCPAOGood
        TCPAODroppedIcmps
        """,
    ),
    _Group(
        "Ip",
        "{packet}",
        """
        InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests
        OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates
        OutTransmits
        """,
    ),
    _Group(
        "IpExt",
        "{packet}",
        """
        InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets OutMcastOctets
        InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps
        """,
    ),
    _Group(
        "Icmp",
        "{message}",
        """
        InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos
        InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal
        OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps
        OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps
        """,
    ),
    _Group(
        "Udp6",
        "{datagram}",
        """
        InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
        """,
    ),
    _Group(
        "Ip6",
        "{packet}",
        """
        InReceives InHdrErrors InTooBigErrors InNoRoutes InAddrErrors InUnknownProtos InTruncatedPkts InDiscards
        InDelivers OutForwDatagrams OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs
        ReasmFails FragOKs FragFails FragCreates InMcastPkts OutMcastPkts InOctets OutOctets InMcastOctets
        OutMcastOctets InBcastOctets OutBcastOctets InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts OutTransmits
        """,
    ),
    _Group(
        "Icmp6",
        "{message}",
        """
        InMsgs InErrors OutMsgs OutErrors InCsumErrors OutRateLimitHost InDestUnreachs InPktTooBigs InTimeExcds
        InParmProblems InEchos InEchoReplies InGroupMembQueries InGroupMembResponses InGroupMembReductions
        InRouterSolicits InRouterAdvertisements InNeighborSolicits InNeighborAdvertisements InRedirects
        InMLDv2Reports OutDestUnreachs OutPktTooBigs OutTimeExcds OutParmProblems OutEchos OutEchoReplies
        OutGroupMembQueries OutGroupMembResponses OutGroupMembReductions OutRouterSolicits OutRouterAdvertisements
        OutNeighborSolicits OutNeighborAdvertisements OutRedirects OutMLDv2Reports
        """,
    ),
)

PROBE = mib_probe(
    "mib",
    "the rest of the kernel's counters of TCP, UDP, IP and ICMP",
    *(series for group in _GROUPS for series in group.series()),
    cost="in the one pass over the namespaces; 1 ms for 110 of them",
    opt_in="adds 246 series to each pod",
)
