#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: an address with preferred_lft 0 is deprecated: it is not chosen as the source
# of new connections while there is another one, in both families; "ip address" shows it
# as deprecated.
#
# Seen: only IPv6 obeys. The kernel keeps the flag of an IPv4 address and chooses the
# address as before, by order alone. A host that is to move to a second address within the
# same lease goes on with the old one.
#   ipv4: shown 192.0.2.20 deprecated, source 192.0.2.20
#   ipv6: shown 2001:db8::20 deprecated, source 2001:db8::21
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
for i in 0 1; do
	ip addr add "192.0.2.2$i/24" dev v0
	ip -6 addr add "2001:db8::2$i/64" dev v0 nodad
done
ip -6 addr del 2001:db8::21/64 dev v0
ip -6 addr del 2001:db8::20/64 dev v0
ip -6 addr add 2001:db8::21/64 dev v0 nodad
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip addr change 192.0.2.20/24 dev v0 preferred_lft 0
ip -6 addr change 2001:db8::20/64 dev v0 preferred_lft 0
ip route add default dev v0
ip -6 route add default dev v0
for family in 4 6; do
	far=203.0.113.1
	if [ "$family" = 6 ]; then far=2001:db8:9::1; fi
	echo "ipv$family: shown $(ip "-$family" -o addr show dev v0 | grep deprecated | awk '{ print $4 }' | cut -d / -f 1) deprecated," \
		"source $(ip "-$family" route get "$far" | grep -oE 'src [^ ]+' | cut -d ' ' -f 2)"
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4: shown 192.0.2.20 deprecated, source 192.0.2.20
ipv6: shown 2001:db8::20 deprecated, source 2001:db8::21'
echo "as described"
