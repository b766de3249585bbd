#!/usr/bin/env bash
# Linux 5.3 and later (seen with 6.18), iproute2 6.1.0 (Debian 12): next-hop objects.
#
# Expected: "ip -6 route get fibmatch DST" (RTM_F_FIB_MATCH) shows the route that the
# lookup has found: one whose prefix holds DST, the longest of those.
#
# Seen: two IPv6 routes that use the same next-hop object share what the kernel caches
# for each processor below it, and with that the name of the route which it was made for. After a
# question about the one route, the question about the other one, asked on the same processor, shows the first
# one, whose prefix does not even hold the destination. IPv4 does not do so.
#   asked for 2001:db8:7::1: 2001:db8:7::/48
#   asked for 2001:db8:8::1: 2001:db8:7::/48
#   asked for 198.51.100.1: 198.51.100.0/24
#   asked for 203.0.113.1: 203.0.113.0/24
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
ip link add v0 type veth peer name v1
ip link set v1 up
ip link set v0 up
ip addr add 192.0.2.20/24 dev v0
ip -6 addr add 2001:db8:1::2/64 dev v0 nodad
ip nexthop add id 4 via 192.0.2.9 dev v0
ip route add 198.51.100.0/24 nhid 4
ip route add 203.0.113.0/24 nhid 4
ip -6 nexthop add id 6 via fe80::1 dev v0
ip -6 route add 2001:db8:7::/48 nhid 6
ip -6 route add 2001:db8:8::/48 nhid 6
cpu=$(taskset -cp $$ | grep -o '[0-9]*$')
for dst in 2001:db8:7::1 2001:db8:8::1; do
	echo "asked for $dst: $(taskset -c "$cpu" ip -6 -o route get fibmatch $dst | cut -d ' ' -f 1)"
done
for dst in 198.51.100.1 203.0.113.1; do
	echo "asked for $dst: $(taskset -c "$cpu" ip -o route get fibmatch $dst | cut -d ' ' -f 1)"
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'asked for 2001:db8:7::1: 2001:db8:7::/48
asked for 2001:db8:8::1: 2001:db8:7::/48
asked for 198.51.100.1: 198.51.100.0/24
asked for 203.0.113.1: 203.0.113.0/24'
echo "as described"
