#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12): a destination with two next hops.
#
# Expected: "ip route del PREFIX via GATEWAY" takes that next hop away, or fails as the
# route has two; "ip route append" adds a next hop, or a second route. In either case
# both families do the same.
#
# Seen: deleting by one of two gateways deletes the whole route in IPv4, without an
# error, and that next hop only in IPv6. Appending makes a second IPv4 route that is
# never used while the first stands, and one IPv6 route with two next hops.
#   delete by one gateway:  ipv4 0 next hops left,  ipv6 1
#   append the other one:   ipv4 2 routes,  ipv6 1
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
ip addr add 192.0.2.20/24 dev v0
ip addr add 198.51.100.20/24 dev v2
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip -6 addr add 2001:db8:1::20/64 dev v2 nodad

ip route add 203.0.113.0/24 nexthop via 192.0.2.1 nexthop via 198.51.100.1
ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8::1 nexthop via 2001:db8:1::1
ip route del 203.0.113.0/24 via 192.0.2.1
ip -6 route del 2001:db8:9::/48 via 2001:db8::1
hops() { ip "$1" route show "$2" | grep -c via || true; }
echo "delete by one gateway:  ipv4 $(hops -4 203.0.113.0/24) next hops left,  ipv6 $(hops -6 2001:db8:9::/48)"
ip -6 route flush 2001:db8:9::/48

ip route add 203.0.113.0/24 via 192.0.2.1
ip route append 203.0.113.0/24 via 198.51.100.1
ip -6 route add 2001:db8:9::/48 via 2001:db8::1
ip -6 route append 2001:db8:9::/48 via 2001:db8:1::1
routes() { ip "$1" route show "$2" | grep -c "^$2"; }
echo "append the other one:   ipv4 $(routes -4 203.0.113.0/24) routes,  ipv6 $(routes -6 2001:db8:9::/48)"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'delete by one gateway:  ipv4 0 next hops left,  ipv6 1
append the other one:   ipv4 2 routes,  ipv6 1'
echo "as described"
