#!/usr/bin/env bash
# Linux 6.18, iproute2 6.1.0 (Debian 12), python3
#
# Expected: of two IPv4 default routes with the same metric by two interfaces, as
# systemd-networkd makes for two links with DHCP, the kernel takes the first until that is
# removed or its link goes down. A connection has the source address of the interface that
# it leaves by, and a socket stays with one of them.
#
# Seen: the kernel prefers the route whose gateway answered ARP lately. Where that is not
# known of either, each lookup takes the other route than the one before, also the lookup of "ip
# route get". So connections alternate; the datagrams of one socket do, source address
# included; a connected UDP socket has the address of one interface and leaves by the
# other, because connect(2) looks twice; connections that are bound to an address leave by either.
# When a gateway is found dead, the other route is taken, and no route event tells. With
# different metrics the first one is taken, dead gateway or not.
#   asked six times: v0 and v1 in turn
#   TCP, four connections: 10.0.0.1 by v0 and 10.1.0.1 by v1 in turn
#   TCP from 10.1.0.1, four connections: 10.1.0.1 by v0 and 10.1.0.1 by v1 in turn
#   UDP, one socket, four datagrams: 10.0.0.1 by v0 and 10.1.0.1 by v1 in turn
#   UDP, connected, leaves by the interface of its address: False
#   both gateways answer: v0 v0 v0 v0 v0 v0
#   the first is dead: v1 v1 v1 v1 v1 v1
#   the first is dead, other metrics: v0 v0 v0 v0 v0 v0
#   route events: 0
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
cat > send.py <<'PY'
import socket

wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
wire.settimeout(10)

def leaves():
    while True:
        packet, (name, protocol, kind, *_) = wire.recvfrom(2048)
        if kind == socket.PACKET_OUTGOING and protocol == 0x800 and packet[16:20] == bytes([192, 0, 2, 1]):
            return f"{socket.inet_ntoa(packet[12:16])} by {name}"

def connect(source=None):
    s = socket.socket()
    s.setblocking(False)
    if source:
        s.bind((source, 0))
    try:
        s.connect(("192.0.2.1", 9))
    except BlockingIOError:
        pass
    seen = leaves()
    s.close()
    return seen

def in_turn(seen):
    """Which route is the first depends on earlier lookups."""
    if seen[0] != seen[1] and seen == seen[:2] * 2:
        return " and ".join(sorted(seen[:2])) + " in turn"
    return ", ".join(seen)

print("TCP, four connections:", in_turn([connect() for _ in range(4)]))
print("TCP from 10.1.0.1, four connections:", in_turn([connect("10.1.0.1") for _ in range(4)]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("UDP, one socket, four datagrams:", in_turn([s.sendto(b"x", ("192.0.2.1", 9)) and leaves() for _ in range(4)]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.1", 9))
s.send(b"x")
print("UDP, connected, leaves by the interface of its address:", leaves() in ("10.0.0.1 by v0", "10.1.0.1 by v1"))
PY
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
for i in 0 1; do
	ip link add "v$i" type veth peer name "w$i"
	ip link set "v$i" up
	ip link set "w$i" up
	ip addr add "10.$i.0.1/24" dev "v$i"
	ip route append default via "10.$i.0.2" dev "v$i" metric 1024
done
neighbours() { # in these states
	for i in 0 1; do
		ip neigh replace "10.$i.0.2" lladdr "02:00:00:00:00:0$i" dev "v$i" nud "$1"
		shift
	done
}
asked() {
	for i in 1 2 3 4 5 6; do ip route get "192.0.2.$i" | sed -n 's/.* dev \([a-z0-9]*\) .*/\1/p'; done | xargs
}
neighbours permanent permanent # nothing changes by itself; with stale ones it is the same
case $(asked) in
"v0 v1 v0 v1 v0 v1" | "v1 v0 v1 v0 v1 v0") echo "asked six times: v0 and v1 in turn" ;;
*) echo "asked six times: no turns" ;;
esac
python3 send.py
stdbuf -oL ip -4 monitor route > events &
neighbours reachable reachable
echo "both gateways answer: $(asked)"
ip neigh replace 10.0.0.2 dev v0 nud failed
echo "the first is dead: $(asked)"
ip route add 198.51.100.0/24 dev v0 # ends the list of events
until grep -q 198.51.100.0 events; do :; done
kill %1
events=$(grep -vc 198.51.100.0 events || true)
ip route append default via 10.1.0.2 dev v1 metric 1025
ip route del default via 10.1.0.2 dev v1 metric 1024
echo "the first is dead, other metrics: $(asked)"
echo "route events: $events"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'asked six times: v0 and v1 in turn
TCP, four connections: 10.0.0.1 by v0 and 10.1.0.1 by v1 in turn
TCP from 10.1.0.1, four connections: 10.1.0.1 by v0 and 10.1.0.1 by v1 in turn
UDP, one socket, four datagrams: 10.0.0.1 by v0 and 10.1.0.1 by v1 in turn
UDP, connected, leaves by the interface of its address: False
both gateways answer: v0 v0 v0 v0 v0 v0
the first is dead: v1 v1 v1 v1 v1 v1
the first is dead, other metrics: v0 v0 v0 v0 v0 v0
route events: 0'
echo "as described"
