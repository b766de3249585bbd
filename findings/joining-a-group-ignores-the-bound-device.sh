#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: a socket that is bound to a device (SO_BINDTODEVICE) joins a multicast group
# there when the request leaves the interface to the kernel (INADDR_ANY, index 0): it can
# receive nothing from another one.
#
# Seen: the routing table decides, as if the socket were not bound. The group is joined on
# another device without an error, and no datagram ever arrives on the socket. An
# interface has to be named in the request, also by libraries that are handed a bound
# socket.
#   ipv4: bound to v2, joined on v0, datagram from the peer on v2: not received
#   ipv4 with the index of v2: bound to v2, joined on v2, datagram from the peer on v2: received
#   ipv6: bound to v2, joined on v0, datagram from the peer on v2: not received
#   ipv6 with the index of v2: bound to v2, joined on v2, datagram from the peer on v2: received
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import socket, struct, subprocess
v2, v3 = socket.if_nametoindex("v2"), socket.if_nametoindex("v3")

def joined(group):
    return " ".join(d for d in ("v0", "v1", "v2", "v3") if group in subprocess.check_output(["ip", "maddr", "show", "dev", d], text=True))

for number, (name, family, group, index) in enumerate((("ipv4", 4, "239.9.9.1", 0), ("ipv4 with the index of v2", 4, "239.9.9.2", v2),
                                                       ("ipv6", 6, "ff15::91", 0), ("ipv6 with the index of v2", 6, "ff15::92", v2))):
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    s = socket.socket(kind, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")
    s.bind(("", 7000 + number))
    if family == 4:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton(group), b"", index))
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", socket.inet_pton(kind, group), index))
    on = joined(group)
    peer = socket.socket(kind, socket.SOCK_DGRAM)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v3\0")
    peer.sendto(b"hello", (group, 7000 + number))
    s.settimeout(1 if index == 0 else 20)
    try:
        s.recv(10)
        got = "received"
    except TimeoutError:
        got = "not received"
    print(f"{name}: bound to v2, joined on {on}, datagram from the peer on v2: {got}")
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
for i in 0 2; do
	ip link add "v$i" type veth peer name "v$((i + 1))"
	ip link set "v$i" up
	ip link set "v$((i + 1))" up
done
ip addr add 192.0.2.20/24 dev v0
ip addr add 198.51.100.20/24 dev v2
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip -6 addr add 2001:db8:1::20/64 dev v2 nodad
ip addr add 198.51.100.9/24 dev v3
ip -6 addr add 2001:db8:1::9/64 dev v3 nodad
ip route add default via 192.0.2.1
ip -6 route add ff15::/16 dev v0 table local metric 1
echo 1 > /proc/sys/net/ipv4/conf/v2/accept_local
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/v2/rp_filter
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4: bound to v2, joined on v0, datagram from the peer on v2: not received
ipv4 with the index of v2: bound to v2, joined on v2, datagram from the peer on v2: received
ipv6: bound to v2, joined on v0, datagram from the peer on v2: not received
ipv6 with the index of v2: bound to v2, joined on v2, datagram from the peer on v2: received'
echo "as described"
