#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: net.ipv6.conf.v2.forwarding = 1, as programs set it that share a connection by
# v2, makes a router of that interface. v0, which stays a host's interface (forwarding 0,
# accept_ra 1), keeps the default route that a router there has advertised.
#
# Seen: the default routes learned from advertisements are deleted on all interfaces,
# except where accept_ra is 2. v0's comes back with the next advertisement, which can be
# half an hour away (RFC 4861: 1800 s at most), and nothing says why it went.
#   accept_ra 1: default via fe80::1 dev v0 proto ra
#   v2.forwarding = 1, v0.forwarding 0: no default route
#   accept_ra 2: default via fe80::1 dev v0 proto ra
#   v2.forwarding = 1, v0.forwarding 0: default via fe80::1 dev v0 proto ra
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import socket, struct
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0, 0, socket.if_nametoindex("v1")))
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
for i in 0 2; do ip link add "v$i" type veth peer name "v$((i + 1))"; done
mkfifo hold
unshare --net cat hold & # the router's network namespace, until hold is closed
router=$!
exec 4> hold
while [ "$(readlink "/proc/$router/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set v1 netns "$router"
nsenter --net="/proc/$router/ns/net" bash -c 'ip link set v1 addrgenmode none up && ip addr add fe80::1/64 dev v1 nodad'
echo 0 > /proc/sys/net/ipv6/conf/v0/accept_dad
ip link set v0 up
ip link set v2 up
until ip -6 addr show dev v0 scope link | grep -q fe80; do :; done
shown() { ip -6 route show default | sed 's/ metric.*//' | grep . || echo "no default route"; }
for accept in 1 2; do
	echo 0 > /proc/sys/net/ipv6/conf/v2/forwarding
	echo "$accept" > /proc/sys/net/ipv6/conf/v0/accept_ra
	nsenter --net="/proc/$router/ns/net" python3 try.py
	for _ in $(seq 500); do
		if ip -6 route show default | grep -q via; then break; fi
	done
	echo "accept_ra $accept: $(shown)"
	echo 1 > /proc/sys/net/ipv6/conf/v2/forwarding
	echo "v2.forwarding = 1, v0.forwarding $(cat /proc/sys/net/ipv6/conf/v0/forwarding): $(shown)"
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'accept_ra 1: default via fe80::1 dev v0 proto ra
v2.forwarding = 1, v0.forwarding 0: no default route
accept_ra 2: default via fe80::1 dev v0 proto ra
v2.forwarding = 1, v0.forwarding 0: default via fe80::1 dev v0 proto ra'
echo "as described"
