"""Linux's own TCP counters of each namespace: aborts, overflows, time-outs and other signs of trouble in TCP."""

from __future__ import annotations

from otel_netagent.probing.mib import WALK_COST, counter, mib_probe

PROBE = mib_probe(
    "tcpext",
    "aborts, overflows, time-outs and other signs of trouble in TCP",
    counter(
        "tcpexttcpabortontimeout",
        ("TcpExt", "TCPAbortOnTimeout"),
        "1",
        "connections given up because the peer answered no retransmission, window probe or keepalive; an RST is sent "
        "only after keepalives",
    ),
    counter(
        "tcpexttcpabortonlinger",
        ("TcpExt", "TCPAbortOnLinger"),
        "1",
        "RSTs sent to reclaim FIN_WAIT2 connections under TCP_LINGER2",
    ),
    counter(
        "tcpexttcpabortonclose",
        ("TcpExt", "TCPAbortOnClose"),
        "1",
        "RSTs sent because the socket was closed with unread data",
    ),
    counter(
        "tcpexttcpabortonmemory",
        ("TcpExt", "TCPAbortOnMemory"),
        "1",
        "RSTs sent because tcp_check_oom found no memory for a tw_sock or tcp_sock",
    ),
    counter(
        "tcpexttcpabortondata",
        ("TcpExt", "TCPAbortOnData"),
        "1",
        "RSTs sent because of SO_LINGER / TCP_LINGER2 with data arriving",
    ),
    counter(
        "tcpextlistenoverflows",
        ("TcpExt", "ListenOverflows"),
        "1",
        "times a LISTEN socket's accept queue was full when a handshake completed",
    ),
    counter(
        "tcpextlistendrops",
        ("TcpExt", "ListenDrops"),
        "1",
        "times a LISTEN socket failed to create a connection, for any reason",
    ),
    counter(
        "tcpexttcpackskippedsynrecv", ("TcpExt", "TCPACKSkippedSynRecv"), "1", "ACKs not sent in SYN_RECV (rate limit)"
    ),
    counter(
        "tcpexttcpackskippedpaws",
        ("TcpExt", "TCPACKSkippedPAWS"),
        "1",
        "ACKs withheld by the out-of-window rate limit because PAWS triggered",
    ),
    counter(
        "tcpexttcpackskippedseq",
        ("TcpExt", "TCPACKSkippedSeq"),
        "1",
        "ACKs withheld by the out-of-window rate limit because the sequence number was outside the window",
    ),
    counter(
        "tcpexttcpackskippedchallenge",
        ("TcpExt", "TCPACKSkippedChallenge"),
        "1",
        "challenge ACKs withheld by the rate limit",
    ),
    counter("tcpexttcpackskippedtimewait", ("TcpExt", "TCPACKSkippedTimeWait"), "1", "ACKs withheld in TIME_WAIT"),
    counter("tcpexttcpackskippedfinwait2", ("TcpExt", "TCPACKSkippedFinWait2"), "1", "ACKs withheld in FIN_WAIT2"),
    counter(
        "tcpextpawsestabrejected",
        ("TcpExt", "PAWSEstab"),
        "1",
        "inbound segments dropped by PAWS on an established connection",
    ),
    counter(
        "tcpexttcprcvqdrop",
        ("TcpExt", "TCPRcvQDrop"),
        "1",
        "segments dropped because memory could not be had and the receive queue was full",
    ),
    counter(
        "tcpexttcpretransfail", ("TcpExt", "TCPRetransFail"), "1", "retransmissions that failed with anything but EBUSY"
    ),
    counter("tcpexttcpsynretrans", ("TcpExt", "TCPSynRetrans"), "1", "SYNs and SYN/ACKs retransmitted"),
    counter(
        "tcpexttcpfastretrans", ("TcpExt", "TCPFastRetrans"), "1", "fast retransmissions (congestion state not Loss)"
    ),
    counter(
        "tcpexttcptimeouts",
        ("TcpExt", "TCPTimeouts"),
        "1",
        "retransmission timeouts outside Recovery, Loss and Disorder (an unanswered SYN among them)",
    ),
    counter(
        "tcpexttcpabortfailed", ("TcpExt", "TCPAbortFailed"), "1", "RSTs that could not be sent for lack of memory"
    ),
    counter("tcpextpawsactive", ("TcpExt", "PAWSActive"), "1", "SYN/ACKs rejected by PAWS"),
    counter("tcpextpawsestab", ("TcpExt", "PAWSEstab"), "1", "as pawsestabrejected, under the kernel's own name"),
    counter("tcpextembryonicrsts", ("TcpExt", "EmbryonicRsts"), "1", "RSTs received in SYN_RECV"),
    counter("tcpexttcpwinprobe", ("TcpExt", "TCPWinProbe"), "1", "window probes sent"),
    counter("tcpexttcpkeepalive", ("TcpExt", "TCPKeepAlive"), "1", "keepalives sent"),
    counter("tcpexttcpmtupfail", ("TcpExt", "TCPMTUPFail"), "1", "MTU probes that failed"),
    counter("tcpexttcpmtupsuccess", ("TcpExt", "TCPMTUPSuccess"), "1", "MTU probes that succeeded"),
    counter(
        "tcpexttcpzerowindowdrop", ("TcpExt", "TCPZeroWindowDrop"), "1", "segments dropped because the window was zero"
    ),
    counter(
        "tcpexttcpbacklogdrop",
        ("TcpExt", "TCPBacklogDrop"),
        "1",
        "segments dropped because the socket's backlog was full",
    ),
    counter("tcpextpfmemallocdrop", ("TcpExt", "PFMemallocDrop"), "1", "segments dropped from the memory reserve"),
    counter("tcpexttcpwqueuetoobig", ("TcpExt", "TCPWqueueTooBig"), "1", "writes refused: write queue too big"),
    counter("tcpexttcpmemorypressures", ("TcpExt", "TCPMemoryPressures"), "1", "times TCP came under memory pressure"),
    counter(
        "tcpexttcpmemorypressureschrono", ("TcpExt", "TCPMemoryPressuresChrono"), "ms", "time under TCP memory pressure"
    ),
    cost=WALK_COST,
)
