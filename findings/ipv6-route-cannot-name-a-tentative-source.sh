#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: a route can name any address of the host as its source (RTA_PREFSRC, "src"), so
# that addresses and routes can be set one after the other; of an address that is still
# looked for on the link (tentative, RFC 4862) the kernel makes no use meanwhile.
#
# Seen: IPv4 takes the route at once. IPv6 refuses it, "Invalid source address", for the second or
# two that the search for duplicates takes; the same route without a source it takes. A
# network manager that sets both in one go is without its default route, unless it tries again.
#   ipv4: taken
#   ipv6, tentative: refused
#   ipv6, tentative, no source named: taken
#   ipv6, not looked for: taken
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
echo 60 > /proc/sys/net/ipv6/conf/v0/dad_transmits # a search that outlasts this script
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.2/24 dev v0
ip -6 addr add 2001:db8:1::2/64 dev v0
ip -6 addr add 2001:db8:2::2/64 dev v0 nodad
try() {
	if ip "${@:2}" 2>err; then echo "$1: taken"; else
		grep -q 'Invalid source address' err
		echo "$1: refused"
	fi
}
try ipv4 route add 198.51.100.0/24 via 192.0.2.1 dev v0 src 192.0.2.2
try 'ipv6, tentative' -6 route add 2001:db8:7::/64 via fe80::1 dev v0 src 2001:db8:1::2
try 'ipv6, tentative, no source named' -6 route add 2001:db8:8::/64 via fe80::1 dev v0
try 'ipv6, not looked for' -6 route add 2001:db8:9::/64 via fe80::1 dev v0 src 2001:db8:2::2
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4: taken
ipv6, tentative: refused
ipv6, tentative, no source named: taken
ipv6, not looked for: taken'
echo "as described"
