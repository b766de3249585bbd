#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: a rule with suppress_prefixlength N makes nothing of what its table answers, if
# the route's prefix has N bits or fewer: the lookup goes on to the next rule, as if the
# table had no such route. So says the manual ("reject routing decisions"), and so tools
# use it to take some destinations out of a VPN's table.
#
# Seen: that holds for routes that lead somewhere. One that refuses ends the lookup
# whatever its length, as only an answer that could be used is looked at again. Both
# families do so. Only throw leads on, which is what it does without the word as well.
#   IPv4 unicast: dev d0
#   IPv4 unreachable: No route to host
#   IPv4 blackhole: Invalid argument
#   IPv4 prohibit: Permission denied
#   IPv4 throw: dev d0
# and the same with IPv6. The table's unicast route leaves by d2; d0 is the main table's.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link set lo up
for pair in "d0 d1 192.0.2 2001:db8" "d2 d3 198.51.100 2001:db8:2"; do
	set -- $pair
	ip link add "$1" type veth peer name "$2"
	ip link set "$1" up
	ip link set "$2" up
	ip addr add "$3.2/24" dev "$1"
	ip addr add "$4::2/64" dev "$1" nodad
done
ip route add default via 192.0.2.1 dev d0
ip -6 route add default via 2001:db8::1 dev d0
ip rule add pref 100 table 100 suppress_prefixlength 24
ip -6 rule add pref 100 table 100 suppress_prefixlength 48
answer() { { ip "$@" || true; } 2>&1 | sed -nE 's/.* (dev [a-z0-9]+) .*/\1/p; s/^RTNETLINK answers: //p'; }
for kind in unicast unreachable blackhole prohibit throw; do
	over4= over6=
	test $kind != unicast || over4="via 198.51.100.1 dev d2" over6="via 2001:db8:2::1 dev d2"
	ip route add $kind 203.0.113.0/24 $over4 table 100
	ip -6 route add $kind 2001:db8:1::/48 $over6 table 100
	echo "IPv4 $kind: $(answer route get 203.0.113.9)"
	echo "IPv6 $kind: $(answer -6 route get 2001:db8:1::9)"
	ip route flush table 100
	ip -6 route flush table 100
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'IPv4 unicast: dev d0
IPv6 unicast: dev d0
IPv4 unreachable: No route to host
IPv6 unreachable: No route to host
IPv4 blackhole: Invalid argument
IPv6 blackhole: Invalid argument
IPv4 prohibit: Permission denied
IPv6 prohibit: Permission denied
IPv4 throw: dev d0
IPv6 throw: dev d0'
echo "as described"
