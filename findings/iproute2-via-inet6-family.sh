#!/usr/bin/env bash
# iproute2 6.1.0 (Debian 12): the family of a route to "default" is that of its gateway,
# even where "via inet6" says that the gateway is of the other family.
#
# Expected: "via inet6 ADDRESS" is there to give an IPv4 route an IPv6 next hop
# (RFC 8950), and ip(8) takes IPv4 where nothing says otherwise, so that
# "ip route add default via inet6 fe80::1 dev v0" adds an IPv4 default route.
#
# Seen: no error, no IPv4 route, and an IPv6 default route:
#   ip -4 route show default   (nothing)
#   ip -6 route show default   default via fe80::1 dev v0 metric 1024 pref medium
# With "ip -4 route add ..." or with 0.0.0.0/0 in place of "default" it is as expected.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'EOF'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip -4 addr add 192.0.2.20/32 dev v0
ip route add default via inet6 fe80::1 dev v0
test -z "$(ip -4 route show default)"
ip -6 route show default | grep -q '^default via fe80::1 dev v0'
ip -4 route add default via inet6 fe80::1 dev v0
ip -4 route show default | grep -q '^default via inet6 fe80::1 dev v0'
ip -4 route del default
ip route add 0.0.0.0/0 via inet6 fe80::1 dev v0
ip -4 route show default | grep -q '^default via inet6 fe80::1 dev v0'
EOF
if [ "$(id -u)" = 0 ]; then
	unshare --net bash "$dir/try"
else
	unshare --user --map-root-user --net bash "$dir/try"
fi
echo "as described"
