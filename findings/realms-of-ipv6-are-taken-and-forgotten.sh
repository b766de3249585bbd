#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: what a family of addresses cannot have is refused, as a type of service in a
# route of IPv6 is ("option not available for IPv6"). What is added without an error is
# what is shown afterwards.
#
# Seen: realms, of rules and of routes, exist for IPv4 only (net/ipv4/Kconfig,
# IP_ROUTE_CLASSID). For IPv6 ip(8) sends them, the kernel passes over the attributes
# (FRA_FLOW, RTA_FLOW), and both are silent: the exit status is 0, and rule and route are
# there without their realms. Traffic that tc(8) was to sort by realm is not sorted.
#   rule 4:  from 192.0.2.0/24 lookup 100 realms 5
#   route 4: 198.51.100.0/24 dev d0 scope link realm 7
#   rule 6:  from 2001:db8:1::/64 lookup 100
#   route 6: 2001:db8:2::/64 dev d0 metric 1024 pref medium
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
plain() { sed -E 's/^[0-9]+:\t//; s/\s+/ /g; s/ $//'; }
ip link add d0 type veth peer name d1
ip link set d0 up
ip link set d1 up
ip -6 addr add 2001:db8::1/64 dev d0 nodad
ip rule add from 192.0.2.0/24 lookup 100 realms 5
ip route add 198.51.100.0/24 dev d0 realms 7
ip -6 rule add from 2001:db8:1::/64 lookup 100 realms 5
ip -6 route add 2001:db8:2::/64 dev d0 realms 7
echo "rule 4:  $(ip rule show | grep 192.0.2 | plain)"
echo "route 4: $(ip route show 198.51.100.0/24 | plain)"
echo "rule 6:  $(ip -6 rule show | grep 2001 | plain)"
echo "route 6: $(ip -6 route show 2001:db8:2::/64 | plain)"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'rule 4:  from 192.0.2.0/24 lookup 100 realms 5
route 4: 198.51.100.0/24 dev d0 scope link realm 7
rule 6:  from 2001:db8:1::/64 lookup 100
route 6: 2001:db8:2::/64 dev d0 metric 1024 pref medium'
echo "as described"
