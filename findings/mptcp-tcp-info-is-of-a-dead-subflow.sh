#!/usr/bin/env bash
# Linux 6.18, iproute2 6.1.0 (Debian 12), python3
#
# Expected: what is asked about the socket of a Multipath TCP connection whose first
# subflow is gone, and whose second carries the data, is about the connection: an
# established state, the addresses in use, or at least an error.
#
# Seen: TCP_INFO, getsockname(2) and getpeername(2) go on about the first subflow for ever.
# The state is CLOSE (7), with no round-trip time and no bytes, and the addresses are those
# of the path that is gone, though data flows both ways and SO_ERROR is 0. MPTCP_INFO
# counts the bytes of the connection. So a program that ends connections in state CLOSE, or
# takes the network of one from its address, ends or misplaces those that Multipath TCP has saved.
#   with two subflows: state 1, round-trip time known True, from 10.1.0.1, server sees 10.1.0.1
#   first one gone: state 7, round-trip time known False, from 10.1.0.1, server sees 10.1.0.1
#   the kernel's list: 10.2.0.1
#   MPTCP_INFO: 2000 bytes sent, 1000 received
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
cat > try.py <<'PY'
import socket, struct, subprocess

MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1

def read(c, n):
    while n:
        n -= len(c.recv(n))

def both_ways():
    client.sendall(b"x" * 1000)
    read(server, 1000)
    server.sendall(b"y" * 500)
    read(client, 500)

def describe():
    b = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    rtt = struct.unpack_from("I", b, 68)[0]
    return f"state {b[0]}, round-trip time known {rtt > 0}, from {client.getsockname()[0]}, server sees {server.getpeername()[0]}"

def subflows():
    out = subprocess.run(["ss", "-Htn", "dst", "10.3.0.1", "dport", "=", "8080"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3].rpartition(":")[0] for line in out.splitlines() if line.startswith("ESTAB")]

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
listener.bind(("10.3.0.1", 8080))
listener.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
client.bind(("10.1.0.1", 0))
client.connect(("10.3.0.1", 8080))
server, _ = listener.accept()
client.settimeout(30)
server.settimeout(30)
both_ways()
while len(subflows()) < 2:
    pass
print("with two subflows:", describe())
subprocess.run(["ss", "-K", "src", "10.1.0.1", "dport", "=", "8080"], capture_output=True, check=True)
while len(subflows()) > 1:
    pass
both_ways()
print("first one gone:", describe())
assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
print("the kernel's list:", *subflows())
b = client.getsockopt(SOL_MPTCP, MPTCP_INFO, 80)
print("MPTCP_INFO: %d bytes sent, %d received" % struct.unpack_from("QQ", b, 56))
PY
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
ip addr add 10.1.0.1/32 dev lo
ip addr add 10.2.0.1/32 dev lo
ip addr add 10.3.0.1/32 dev lo
ip mptcp limits set subflow 1
ip mptcp endpoint add 10.2.0.1 subflow
timeout 60 python3 try.py
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = "with two subflows: state 1, round-trip time known True, from 10.1.0.1, server sees 10.1.0.1
first one gone: state 7, round-trip time known False, from 10.1.0.1, server sees 10.1.0.1
the kernel's list: 10.2.0.1
MPTCP_INFO: 2000 bytes sent, 1000 received"
echo "as described"
