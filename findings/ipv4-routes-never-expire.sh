#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: "ip route add ... expires SECONDS" (RTA_EXPIRES, Linux 4.4) makes a route that
# the kernel removes by itself, and "pref high" (RTA_PREF) one that is preferred, or the
# kernel refuses what it cannot do.
#
# Seen: for IPv6 only. In IPv4 both attributes are accepted and thrown away, with no error
# and no warning: the route stays for ever, as if a lease had no end.
#   ipv4: status 0, shown: 203.0.113.0/24 via 192.0.2.1 dev v0
#   ipv6: status 0, shown: 2001:db8:9::/48 via 2001:db8::1 dev v0 metric 1024 expires 1sec pref high
#   ipv6: gone
#   ipv4: still there
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
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip -6 addr add 2001:db8::20/64 dev v0 nodad
echo 1 > /proc/sys/net/ipv6/route/gc_interval
status=0
ip route add 203.0.113.0/24 via 192.0.2.1 expires 1 pref high || status=$?
echo "ipv4: status $status, shown: $(ip route show 203.0.113.0/24 | sed 's/ *$//')"
status=0
ip -6 route add 2001:db8:9::/48 via 2001:db8::1 expires 1 pref high || status=$?
echo "ipv6: status $status, shown: $(ip -6 route show 2001:db8:9::/48 | sed -E 's/expires -?[01]sec/expires 1sec/')"
for _ in $(seq 5000); do
	if [ -z "$(ip -6 route show 2001:db8:9::/48)" ]; then echo "ipv6: gone"; break; fi
	read -r -t 0.02 < <(:) || true
done
test -n "$(ip route show 203.0.113.0/24)" && echo "ipv4: still there"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4: status 0, shown: 203.0.113.0/24 via 192.0.2.1 dev v0
ipv6: status 0, shown: 2001:db8:9::/48 via 2001:db8::1 dev v0 metric 1024 expires 1sec pref high
ipv6: gone
ipv4: still there'
echo "as described"
