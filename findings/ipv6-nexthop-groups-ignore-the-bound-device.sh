#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3: a default route over two devices.
#
# Expected: what a socket sends that is bound to one of the devices (SO_BINDTODEVICE) leaves by
# that device, whichever way the two next hops are written: as "nexthop ... nexthop ...", or
# as a group of next-hop objects.
#
# Seen: so it is, but for IPv6 and a group. There the kernel takes either next hop by the hash of the
# connection, and sends by the other device, too. "ip -6 route get DST oif DEV" says so of
# single destinations; with "fibmatch" it shows both.
#   sixteen sockets that are bound to v2 send by
#   ipv4, nexthops: v2
#   ipv6, nexthops: v2
#   ipv4, group: v2
#   ipv6, group: v0 v2
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/send.py" <<'SEND'
import socket, sys
family, dst = (socket.AF_INET, '203.0.113.1') if sys.argv[1] == '4' else (socket.AF_INET6, '2001:db8:9::1')
for port in range(4000, 4016):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'v2')
    s.connect((dst, port))
    s.send(b'x')
SEND
cat > "$dir/try" <<'TRY'
set -euo pipefail
for i in 0 2; do
	ip link add "v$i" type veth peer name "v$((i + 1))"
	ip link set "v$i" up
	ip link set "v$((i + 1))" up
	ip addr add "192.0.2.$((64 * i + 2))/26" dev "v$i"
	ip -6 addr add "2001:db8:$i::2/64" dev "v$i" nodad
	ip nexthop add id "1$i" via "192.0.2.$((64 * i + 1))" dev "v$i"
	ip -6 nexthop add id "2$i" via "2001:db8:$i::1" dev "v$i"
done
ip nexthop add id 1 group 10/12
ip nexthop add id 2 group 20/22
# The devices on which somebody has looked for the gateway.
sent() {
	ip neigh flush all
	python3 send.py "$1"
	echo "ipv$1, $2: $(ip "-$1" -o neigh show | grep -oE 'dev v[02]' | cut -d ' ' -f 2 | sort -u | paste -sd ' ')"
}
ip route add default nexthop via 192.0.2.1 dev v0 nexthop via 192.0.2.129 dev v2
ip -6 route add default nexthop via 2001:db8:0::1 dev v0 nexthop via 2001:db8:2::1 dev v2
sent 4 nexthops
sent 6 nexthops
ip route del default
ip -6 route del default
ip route add default nhid 1
ip -6 route add default nhid 2
sent 4 group
sent 6 group
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4, nexthops: v2
ipv6, nexthops: v2
ipv4, group: v2
ipv6, group: v0 v2'
echo "as described"
