#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: a route with two next hops over two devices outlives one of them: when v2 is
# set down or unplugged, what is left is the next hop over v0. Both families do so, and
# tell of it.
#
# Seen: set down, both keep the next hop, marked dead, and use the other. Unplugged, which
# is how a modem or a tunnel goes, the whole IPv4 route is deleted, the way over v0 with
# it, and no message tells of it. IPv6 loses that next hop only, and tells.
#   v2 down: ipv4 v0 and v2 (dead)
#   v2 down: ipv6 v0 and v2 (dead)
#   v2 unplugged: ipv4 no route, told of: nothing
#   v2 unplugged: ipv6 v0, told of: a change
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
plug() {
	ip link add v2 type veth peer name v3
	ip link set v2 up
	ip link set v3 up
	ip addr add 198.51.100.20/24 dev v2
	ip -6 addr add 2001:db8:1::20/64 dev v2 nodad
	ip route add 203.0.113.0/24 nexthop via 192.0.2.1 nexthop via 198.51.100.1
	ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8::1 nexthop via 2001:db8:1::1
}
shown() {
	local hops
	hops=$(ip "$1" route show "$2" | (grep -oE 'dev v[0-9].*' || true) | sed -E 's/dev (v[0-9])/\1/; s/ (weight|metric|pref) [a-z0-9]+//g; s/ (dead linkdown|linkdown dead|dead)/ (dead)/; s/ *$//' |
		paste -sd+ | sed 's/+/ and /')
	echo "${hops:-no route}"
}
plug
ip link set v2 down
echo "v2 down: ipv4 $(shown -4 203.0.113.0/24)"
echo "v2 down: ipv6 $(shown -6 2001:db8:9::/48)"
ip link del v2
ip route flush 203.0.113.0/24
ip -6 route flush 2001:db8:9::/48
plug
mkfifo told
stdbuf -oL ip monitor route > told &
monitor=$!
trap 'kill "$monitor"' EXIT
exec 3< told
while ip route replace 233.252.0.255/32 dev v0 mtu $((1000 + RANDOM % 400)); do
	if read -r -t 1 line <&3; then break; fi
done
ip link del v2
ip route add 233.252.0.1/32 dev v0
: > log
while read -r -t 10 line <&3; do
	case $line in *"233.252.0.1 "*) break ;; esac
	echo "$line" >> log
done
told() { if grep -q "$1" log; then echo "a change"; else echo nothing; fi; }
echo "v2 unplugged: ipv4 $(shown -4 203.0.113.0/24), told of: $(told 203.0.113.0/24)"
echo "v2 unplugged: ipv6 $(shown -6 2001:db8:9::/48), told of: $(told 2001:db8:9::/48)"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'v2 down: ipv4 v0 and v2 (dead)
v2 down: ipv6 v0 and v2 (dead)
v2 unplugged: ipv4 no route, told of: nothing
v2 unplugged: ipv6 v0, told of: a change'
echo "as described"
