#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3.
#
# Expected: who listens to RTNLGRP_IPV6_ROUTE ("ip -6 monitor route") is told of each
# change of the default route that a router advertisement makes, so that his copy of the
# route is what "ip -6 route" shows.
#
# Seen: a change of the router's lifetime is not told at all. A change of its preference
# (RFC 4191) is told, with the lifetime that the route had before this advertisement. So
# a copy of the routes never knows when the default route ends, and takes a route for
# expired that routers keep alive. Of the address each advertisement tells (RTM_NEWADDR).
#   pref low, lifetime 1800: told pref low expires 1800, shown pref low expires 1800
#   pref low, lifetime 600: told nothing, shown pref low expires 600, addresses told 1
#   pref high, lifetime 3000: told pref high expires 600, shown pref high expires 3000, addresses told 1
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/router.py" <<'PY'
import socket, struct, sys
preference = {"high": 1, "low": 3}[sys.argv[1]]
lifetime = int(sys.argv[2])
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xc0, 7200, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8::"))
router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, preference << 3, lifetime, 0, 0) + prefix,
              ("ff02::1", 0, 0, socket.if_nametoindex("v1")))
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
mkfifo hold
unshare --net cat hold & # the router's network namespace, until hold is closed
router=$!
exec 4> hold
while [ "$(readlink /proc/$router/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set v1 netns "$router"
nsenter --net="/proc/$router/ns/net" bash -c 'ip link set v1 addrgenmode none up && ip addr add fe80::1/64 dev v1 nodad'
echo 0 > /proc/sys/net/ipv6/conf/v0/accept_dad
ip link set v0 up
until ip -6 addr show dev v0 scope link | grep -q fe80; do :; done

mkfifo told
stdbuf -oL ip -6 monitor route address > told &
monitor=$!
trap 'kill "$monitor"' EXIT
exec 3< told
# heard N gives what was told up to a route that marks the end.
heard() {
	ip -6 route add "2001:db8:$1::/48" dev v0
	while read -r -t 10 line <&3; do
		case $line in *"2001:db8:$1::/48"*) return ;; esac
		echo "$line"
	done
	echo "no end mark" >&2
	exit 1
}
while ip -6 route replace 2001:db8:f::/48 dev v0; do
	if read -r -t 1 line <&3; then break; fi
done
rounded() { # to hundreds of seconds, as some time passes
	sed -E 's/.*expires ([0-9]+)sec.*pref ([a-z]+).*/\1 \2/' | while read -r left pref; do
		echo "pref $pref expires $(((left + 99) / 100 * 100))"
	done
}
# advertise N PREFERENCE LIFETIME says what was told, and what is shown.
advertise() {
	nsenter --net="/proc/$router/ns/net" python3 router.py "$2" "$3"
	shown=
	for _ in $(seq 500); do
		shown=$(ip -6 route show default | rounded)
		if [ "$shown" = "pref $2 expires $3" ]; then break; fi
	done
	heard "$1" > log
	told=$( (grep '^default' log || true) | rounded)
	echo "pref $2, lifetime $3: told ${told:-nothing}, shown $shown, addresses told $(grep -c 'inet6 2001:db8::' log)"
}
advertise a low 1800 | sed 's/, addresses.*//' # of a new one it tells more than once
advertise b low 600
advertise c high 3000
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'pref low, lifetime 1800: told pref low expires 1800, shown pref low expires 1800
pref low, lifetime 600: told nothing, shown pref low expires 600, addresses told 1
pref high, lifetime 3000: told pref high expires 600, shown pref high expires 3000, addresses told 1'
echo "as described"
