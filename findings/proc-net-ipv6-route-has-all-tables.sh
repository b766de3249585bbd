#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: /proc/net/route and /proc/net/ipv6_route show the same of the two families:
# the main table, so that the first default route in them with the least metric is the
# host's.
#
# Seen: the IPv4 file has the main table only. The IPv6 file has the routes of all tables
# one after the other, without a column that says of which table a route is: a program
# that reads it takes the default route of a table for some sources or marks for the
# host's.
#   /proc/net/route: default via 192.0.2.1
#   /proc/net/ipv6_route: default via 2001:db8::1, 2001:db8:1::1
#   ip -6 route show default: default via 2001:db8::1
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
ip route add default via 192.0.2.1
ip route add default via 198.51.100.1 table 100
ip -6 route add default via 2001:db8::1
ip -6 route add default via 2001:db8:1::1 table 100
echo "/proc/net/route: default via $(awk '$2 == "00000000" && $8 == "00000000" { print $3 }' /proc/net/route |
	sed -E 's/(..)(..)(..)(..)/0x\4 0x\3 0x\2 0x\1/' | xargs printf '%d.%d.%d.%d\n' | paste -sd, | sed 's/,/, /g')"
echo "/proc/net/ipv6_route: default via $(awk '$1 ~ /^0+$/ && $2 == "00" && $10 != "lo" { print $5 }' /proc/net/ipv6_route | sort |
	sed -E 's/(....)/\1:/g; s/:$//; s/:0+:0000:.*:0*([0-9]+)$/::\1/; s/:0+([0-9a-f])/:\1/g' | paste -sd, | sed 's/,/, /g')"
echo "ip -6 route show default: $(ip -6 route show default | sed 's/ dev.*//')"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = '/proc/net/route: default via 192.0.2.1
/proc/net/ipv6_route: default via 2001:db8::1, 2001:db8:1::1
ip -6 route show default: default via 2001:db8::1'
echo "as described"
