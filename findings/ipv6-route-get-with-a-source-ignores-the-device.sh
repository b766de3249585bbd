#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3.
#
# Expected: asked with RTM_GETROUTE where a packet from an address of an interface goes
# that is to leave by that interface (ip -6 route get DST from SRC oif DEV), the kernel
# names that interface, as it does for IPv4 and as it sends for a socket that is
# bound to both.
#
# Seen: of IPv6 it names the interface of the route with the lower metric, and a source
# that is not the one asked for. Without a source the same question is answered with the device asked
# for. A socket that is bound to address and device sends by that device.
#   get from oif v1: via 2001:db8:1::1 dev v0 src 2001:db8:1::2
#   get oif v1: via 2001:db8:2::1 dev v1 src 2001:db8:2::2
#   a socket bound to both looks for the neighbour 2001:db8:2::1 dev v1
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
for i in v0 v1; do
	ip link add $i type veth peer name $i-far
	ip link set $i-far up
	ip link set $i up
done
ip -6 addr add 2001:db8:1::2/64 dev v0 nodad
ip -6 addr add 2001:db8:2::2/64 dev v1 nodad
ip -6 route add default via 2001:db8:1::1 dev v0 metric 100
ip -6 route add default via 2001:db8:2::1 dev v1 metric 200
get() { ip -6 -o route get 2a00::1 "$@" | grep -o 'via [^ ]* dev [^ ]*.* src [^ ]*' | sed 's/ proto [^ ]*//'; }
echo "get from oif v1: $(get from 2001:db8:2::2 oif v1)"
echo "get oif v1: $(get oif v1)"
python3 - <<'PY'
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v1")
s.bind(("2001:db8:2::2", 0))
s.connect(("2a00::1", 9))
s.send(b"x")
PY
echo "a socket bound to both looks for the neighbour $(ip -6 neigh | grep -o '2001:db8:[12]::1 dev v[01]')"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'get from oif v1: via 2001:db8:1::1 dev v0 src 2001:db8:1::2
get oif v1: via 2001:db8:2::1 dev v1 src 2001:db8:2::2
a socket bound to both looks for the neighbour 2001:db8:2::1 dev v1'
echo "as described"
