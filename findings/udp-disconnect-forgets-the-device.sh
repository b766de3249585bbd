#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: SO_BINDTODEVICE holds until it is set anew, which takes a privilege. connect
# to AF_UNSPEC makes a UDP socket forget its peer and the address that the kernel chose
# for it, as connect(2) and udp(7) have it, so that the next connect goes by the same
# device.
#
# Seen: the device is forgotten with the peer, in both families and without an error, and
# the next connect takes the routing table's device. TCP sockets keep it. Resolvers and
# QUIC programs that use one socket for several peers leave the network they were put on.
#   udp4: bound to v2, after disconnect to nothing, next source 192.0.2.20
#   udp6: bound to v2, after disconnect to nothing, next source 2001:db8::20
#   tcp4: bound to v2, after disconnect to v2
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)

def device(s):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "nothing"

def disconnect(s): # python's connect knows no AF_UNSPEC
    if libc.connect(s.fileno(), struct.pack("H26x", socket.AF_UNSPEC), 28) != 0:
        raise OSError(ctypes.get_errno())

for name, family, peer in (("udp4", socket.AF_INET, "203.0.113.9"), ("udp6", socket.AF_INET6, "2001:db8:9::9")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")
    s.connect((peer, 9))
    before = device(s)
    disconnect(s)
    after = device(s)
    s.connect((peer, 9))
    print(f"{name}: bound to {before}, after disconnect to {after}, next source {s.getsockname()[0]}")
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")
before = device(s)
disconnect(s)
print(f"tcp4: bound to {before}, after disconnect to {device(s)}")
PY
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
ip route add default via 198.51.100.1 metric 9
ip -6 route add default via 2001:db8::1 metric 1
ip -6 route add default via 2001:db8:1::1 metric 9
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'udp4: bound to v2, after disconnect to nothing, next source 192.0.2.20
udp6: bound to v2, after disconnect to nothing, next source 2001:db8::20
tcp4: bound to v2, after disconnect to v2'
echo "as described"
