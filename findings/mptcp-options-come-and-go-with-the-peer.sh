#!/usr/bin/env bash
# Linux 6.18, Python 3
#
# Expected: whether a socket option can be set on an MPTCP socket depends on the kernel,
# not on who is at the other end, and an option that MPTCP lacks gives one error.
#
# Seen: TCP_USER_TIMEOUT, TCP_QUICKACK and TCP_WINDOW_CLAMP are ENOPROTOOPT, IP_TTL and
# IP_RECVERR are EOPNOTSUPP, before connecting and while the peer speaks MPTCP. Where the
# connection has fallen back to TCP they can be set, though the socket is still one of
# MPTCP; SO_MAX_PACING_RATE cannot (EOPNOTSUPP) in any of these states.
#   not connected: TCP_USER_TIMEOUT ENOPROTOOPT, TCP_QUICKACK ENOPROTOOPT, TCP_WINDOW_CLAMP ENOPROTOOPT, SO_MAX_PACING_RATE EOPNOTSUPP, IP_TTL EOPNOTSUPP, IP_RECVERR EOPNOTSUPP
#   with MPTCP: the same
#   fallen back: SO_MAX_PACING_RATE EOPNOTSUPP
#   accepted from a client without MPTCP: none (a TCP socket)
# So a server that sets TCP_USER_TIMEOUT on what it accepts (Go's listeners have spoken
# MPTCP since 1.24) works until the first client that speaks MPTCP, and a client that sets
# it after connecting works until the server learns to.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
got=$(python3 - <<'PY'
import errno, socket
IPPROTO_MPTCP = 262
NAMES = {errno.ENOPROTOOPT: "ENOPROTOOPT", errno.EOPNOTSUPP: "EOPNOTSUPP"}
OPTIONS = (
    ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, 18, 5000),
    ("TCP_QUICKACK", socket.IPPROTO_TCP, 12, 1),
    ("TCP_WINDOW_CLAMP", socket.IPPROTO_TCP, 10, 65536),
    ("SO_MAX_PACING_RATE", socket.SOL_SOCKET, 47, 1 << 20),
    ("IP_TTL", socket.IPPROTO_IP, 2, 60),
    ("IP_RECVERR", socket.IPPROTO_IP, 11, 1),
    ("TCP_NODELAY", socket.IPPROTO_TCP, 1, 1),
    ("TCP_KEEPIDLE", socket.IPPROTO_TCP, 4, 60),
    ("IP_TOS", socket.IPPROTO_IP, 1, 0),
)

def listener(protocol):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    s.bind(("127.0.0.1", 0))
    s.listen()
    return s

def connected(to, protocol):
    c = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    c.connect(to.getsockname())
    return c, to.accept()[0]

def refused(s):
    lacking = []
    for name, level, option, value in OPTIONS:
        try:
            s.setsockopt(level, option, value)
        except OSError as e:
            lacking.append(f"{name} {NAMES[e.errno]}")
    return ", ".join(lacking) or "none"

multipath, plain = listener(IPPROTO_MPTCP), listener(0)
near, far = connected(multipath, 0)
print("not connected:", refused(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)))
near, far = connected(multipath, IPPROTO_MPTCP)
print("with MPTCP:", refused(near) if refused(near) == refused(far) else "differs")
near, far = connected(plain, IPPROTO_MPTCP)
print("fallen back:", refused(near))
near, far = connected(multipath, 0)
print("accepted from a client without MPTCP:", refused(far))
PY
)
echo "$got"
lacking='TCP_USER_TIMEOUT ENOPROTOOPT, TCP_QUICKACK ENOPROTOOPT, TCP_WINDOW_CLAMP ENOPROTOOPT, SO_MAX_PACING_RATE EOPNOTSUPP, IP_TTL EOPNOTSUPP, IP_RECVERR EOPNOTSUPP'
test "$got" = "not connected: $lacking
with MPTCP: $lacking
fallen back: SO_MAX_PACING_RATE EOPNOTSUPP
accepted from a client without MPTCP: none"
echo "as described"
