#!/usr/bin/env bash
# Linux 5.3 and later (seen with 6.18), iproute2 6.1.0 (Debian 12): next-hop objects.
#
# Expected: when a next-hop object is deleted, the routes that use it are deleted with
# it, and the kernel tells listeners of RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE of
# each route, as it does when somebody deletes a route.
#
# Seen: both families' routes are gone. The IPv6 route is told of, the IPv4 route is
# not: who keeps a copy of the IPv4 table by its messages keeps a route that is gone,
# unless he listens to RTNLGRP_NEXTHOP as well and draws the conclusion himself.
#   Deleted id 7 via 192.0.2.9 dev v0 scope link
#   Deleted id 8 via 2001:db8::9 dev v0 scope link
#   Deleted 2001:db8:9::/48 nhid 8 via 2001:db8::9 dev v0 metric 1024 pref medium
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'EOF'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip nexthop add id 7 via 192.0.2.9 dev v0
ip -6 nexthop add id 8 via 2001:db8::9 dev v0
ip route add 203.0.113.0/24 nhid 7
ip -6 route add 2001:db8:9::/48 nhid 8

# told NAME COMMAND... gives what the kernel tells of while the commands run. A route
# that is added again and again until it is seen says that the listener is there,
# another one that it has seen everything.
mkfifo told
stdbuf -oL ip monitor route nexthop > told &
monitor=$!
exec 3< told
while ip route replace 198.51.100.1/32 dev v0; do
	if read -r -t 1 line <&3; then break; fi
done
ip nexthop del id 7
ip nexthop del id 8
ip route add 198.51.100.2/32 dev v0
: > log
while read -r -t 10 line <&3; do
	case $line in *198.51.100.2*) break ;; esac
	echo "$line" >> log
done
kill "$monitor"
cat log
test -z "$(ip route show 203.0.113.0/24)"
test -z "$(ip -6 route show 2001:db8:9::/48)"
grep -q '^Deleted id 7 ' log
grep -q '^Deleted 2001:db8:9::/48 ' log
if grep -q '203.0.113.0/24' log; then echo "the IPv4 route is told of" >&2; exit 1; fi
EOF
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	unshare --net bash "$dir/try"
else
	unshare --user --map-root-user --net bash "$dir/try"
fi
echo "as described"
