#!/usr/bin/env bash
# Linux with CONFIG_IPV6_SUBTREES (seen with 6.18), iproute2 6.1.0 (Debian 12), python3.
#
# Expected: where "ip -6 route get DST" (RTM_GETROUTE) says that the network is
# unreachable, a socket that is not bound to anything cannot connect there either.
#
# Seen: where all default routes are for certain sources ("default from PREFIX", as
# OpenWrt and RFC 8028 have them) the question without a source is answered by "Network is
# unreachable", with and without fibmatch, and yet a socket connects: it gets the address that is
# preferred, and the route of that. Asked with that source the kernel knows the route.
#   get: unreachable
#   get fibmatch: unreachable
#   socket: 2001:db8:b::2
#   get from 2001:db8:b::2: via fe80::2
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
ip -6 addr add 2001:db8:a::2/64 dev v0 nodad
ip -6 addr add 2001:db8:b::2/64 dev v0 nodad
ip -6 route add default from 2001:db8:a::/64 via fe80::1 dev v0
ip -6 route add default from 2001:db8:b::/64 via fe80::2 dev v0
get() { ip -6 -o route get "$@" 2>&1 | grep -o 'via [^ ]*\|unreachable'; }
echo "get: $(get 2a00::1)"
echo "get fibmatch: $(get fibmatch 2a00::1)"
python3 - <<'PY'
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect(("2a00::1", 9))
print("socket:", s.getsockname()[0])
PY
echo "get from 2001:db8:b::2: $(get 2a00::1 from 2001:db8:b::2)"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'get: unreachable
get fibmatch: unreachable
socket: 2001:db8:b::2
get from 2001:db8:b::2: via fe80::2'
echo "as described"
