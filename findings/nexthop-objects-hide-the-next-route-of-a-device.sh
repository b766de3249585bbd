#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: it makes no difference for packets whether a route names its gateway itself or
# by a next-hop object (ip-nexthop(8)), which "ip route" prints alike. So with two default
# routes of different metrics, by two devices, a socket that is bound to the second device
# (SO_BINDTODEVICE) takes the second route, as ever.
#
# Seen: of IPv4 routes by objects the kernel looks at the first only. Where its device is not
# the one asked for, the search ends; the second route is not found, although it is listed.
# For a bound socket the far address then counts as a neighbour: "ip route get" shows a
# way without a gateway, and connect waits for an answer to ARP. IPv6 finds the second
# route in both cases.
#   IPv4, gateways:  via 10.2.0.1 dev vb
#   IPv4, objects:   dev vb
#   IPv4, objects, fibmatch:  RTNETLINK answers: No route to host
#   IPv6, objects:   via fe80::2 dev vb
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
unshare --user --map-root-user --net bash -euo pipefail -c '
for v in va vb; do
	ip link add "$v" type veth peer name "${v}p"
	ip link set "$v" up
	ip link set "${v}p" up
done
ip addr add 10.1.0.2/24 dev va
ip addr add 10.2.0.2/24 dev vb
ip addr add 2001:db8:1::2/64 dev va nodad
ip addr add 2001:db8:2::2/64 dev vb nodad

fail() { echo "otherwise than described: $*" >&2; exit 1; }
way() { ip route get "$1" oif vb 2>&1 | head -n 1 | grep -o -E "(via [^ ]+ )?dev vb" || true; }
expect() {
	echo "$1:  $3"
	[ "$2" = "$3" ] || fail "want $2"
}

ip route add default via 10.1.0.1 dev va metric 100
ip route add default via 10.2.0.1 dev vb metric 200
expect "IPv4, gateways" "via 10.2.0.1 dev vb" "$(way 198.51.100.1)"
ip route del default dev va
ip route del default dev vb

ip nexthop add id 1 via 10.1.0.1 dev va
ip nexthop add id 2 via 10.2.0.1 dev vb
ip route add default nhid 1 metric 100
ip route add default nhid 2 metric 200
[ "$(ip route show default | wc -l)" = 2 ] || fail "two routes are not listed"
expect "IPv4, objects" "dev vb" "$(way 198.51.100.1)"
match=$(ip route get fibmatch 198.51.100.1 oif vb 2>&1) && fail "it is found: $match"
expect "IPv4, objects, fibmatch" "RTNETLINK answers: No route to host" "$match"

ip nexthop add id 61 via fe80::1 dev va
ip nexthop add id 62 via fe80::2 dev vb
ip -6 route add default nhid 61 metric 100
ip -6 route add default nhid 62 metric 200
expect "IPv6, objects" "via fe80::2 dev vb" "$(way 2001:db8:ffff::1)"
'
