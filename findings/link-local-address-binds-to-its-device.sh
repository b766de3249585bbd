#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: a socket's device is set by SO_BINDTODEVICE. A zone (fe80::1%v0) says by which
# link one link-local address is meant; bind to a link-local address of v0 on a socket
# that is bound to v2 is an error, as IPV6_PKTINFO for another interface is.
#
# Seen: bind and connect with a link-local address bind the socket to its link. bind does
# so even against an earlier SO_BINDTODEVICE, without an error and without a privilege. A
# UDP socket that has once been connected to a link-local peer (a router, mDNS, a
# resolver) cannot be connected to anything beyond another link any more.
#   bind to an address of v0: bound to v0
#   SO_BINDTODEVICE v2, then bind to an address of v0: bound to v0
#   connect to a peer on v2: bound to v2, next connect to 2001:db8::9 on v0: Network is unreachable
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import os, socket
v0, v2 = socket.if_nametoindex("v0"), socket.if_nametoindex("v2")

def device(s):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "nothing"

s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("fe80::20", 0, 0, v0))
print("bind to an address of v0: bound to", device(s))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")
s.bind(("fe80::20", 0, 0, v0))
print("SO_BINDTODEVICE v2, then bind to an address of v0: bound to", device(s))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect(("fe80::9", 9, 0, v2))
try:
    bound = device(s)
    s.connect(("2001:db8::9", 9))
    said = "connected"
except OSError as e:
    said = os.strerror(e.errno)
print(f"connect to a peer on v2: bound to {bound}, next connect to 2001:db8::9 on v0: {said}")
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
ip -6 addr add fe80::20/64 dev v0 nodad
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'bind to an address of v0: bound to v0
SO_BINDTODEVICE v2, then bind to an address of v0: bound to v0
connect to a peer on v2: bound to v2, next connect to 2001:db8::9 on v0: Network is unreachable'
echo "as described"
