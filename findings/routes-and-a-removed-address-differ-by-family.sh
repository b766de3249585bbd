#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: two events take away what a route stands on: its preferred source address is
# removed, or its link is set down. Each time the route goes, and RTNLGRP_IPV4_ROUTE or
# RTNLGRP_IPV6_ROUTE tells of it.
#
# Seen: the families do opposite things. Without its address the IPv4 route is deleted,
# with a message; the IPv6 route stays and silently loses its source, so that packets
# leave with another one. When the link is set down both routes go, the IPv6 one with a
# message and the IPv4 one without.
#   address removed: ipv4 told, gone
#   address removed: ipv6 not told, stays: 2001:db8:8::/48 via 2001:db8::1 dev v0 metric 1024 pref medium
#   link down: ipv4 not told, gone
#   link down: ipv6 told, gone
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
for i in 0 2; do
	ip link add "v$i" type veth peer name "v$((i + 1))"
	ip link set "v$i" up
	ip link set "v$((i + 1))" up
done
for i in 0 1; do
	ip addr add "192.0.2.2$i/24" dev v0
	ip -6 addr add "2001:db8::2$i/64" dev v0 nodad
done
ip route add 203.0.113.0/24 via 192.0.2.1
ip route add 198.51.100.0/24 via 192.0.2.1 src 192.0.2.21
ip -6 route add 2001:db8:9::/48 via 2001:db8::1
ip -6 route add 2001:db8:8::/48 via 2001:db8::1 src 2001:db8::21
mkfifo told
stdbuf -oL ip monitor route > told &
monitor=$!
trap 'kill "$monitor"' EXIT
exec 3< told
while ip route replace 233.252.0.255/32 dev v2 mtu $((1000 + RANDOM % 400)); do
	if read -r -t 1 line <&3; then break; fi
done
# report EVENT N FOUR SIX says what was told of two routes up to now, and what is left.
report() {
	ip route add "233.252.0.$2/32" dev v2
	: > log
	while read -r -t 10 line <&3; do
		case $line in *"233.252.0.$2 "*) break ;; esac
		echo "$line" >> log
	done
	for prefix in "$3" "$4"; do
		family=4 told="not told" now=gone
		case $prefix in *:*) family=6 ;; esac
		if grep -q "$prefix" log; then told=told; fi
		left=$(ip "-$family" route show "$prefix" | sed 's/ *$//')
		if [ -n "$left" ]; then now="stays: $left"; fi
		echo "$1: ipv$family $told, $now"
	done
}
ip addr del 192.0.2.21/24 dev v0
ip -6 addr del 2001:db8::21/64 dev v0
report "address removed" 1 198.51.100.0/24 2001:db8:8::/48
ip link set v0 down
report "link down" 2 203.0.113.0/24 2001:db8:9::/48
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'address removed: ipv4 told, gone
address removed: ipv6 not told, stays: 2001:db8:8::/48 via 2001:db8::1 dev v0 metric 1024 pref medium
link down: ipv4 not told, gone
link down: ipv6 told, gone'
echo "as described"
