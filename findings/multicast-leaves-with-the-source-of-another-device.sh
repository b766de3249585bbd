#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: IP_MULTICAST_IF and SO_BINDTODEVICE for two devices contradict each other. The
# later one fails, or one of them decides by which device a datagram for a group leaves
# and with which address.
#
# Seen: it depends on the order. After SO_BINDTODEVICE the other option fails. The other
# way round both succeed, and each decides half: the datagram leaves by the bound device
# with the address of the other one, which the hosts there cannot answer. So a program
# that chose an interface by itself and is then bound to a device from outside is mute.
#   bound to v2, then IP_MULTICAST_IF v0: Invalid argument
#   IP_MULTICAST_IF v0, then bound to v2: leaves by v2 from 192.0.2.20
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import os, socket, struct
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
wire.settimeout(20)

def left():
    while True:
        p, (link, _, kind, _, _) = wire.recvfrom(2048)
        if kind == socket.PACKET_OUTGOING and p[0] >> 4 == 4 and p[9] == socket.IPPROTO_UDP and p[16:20] == socket.inet_aton("239.1.2.3"):
            return link, socket.inet_ntoa(p[12:16])

def choose(s): s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.0.2.20"))
def bind(s): s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")

for name, first, second in (("bound to v2, then IP_MULTICAST_IF v0", bind, choose), ("IP_MULTICAST_IF v0, then bound to v2", choose, bind)):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        first(s)
        second(s)
        s.sendto(b"hello", ("239.1.2.3", 9))
        print(f"{name}: leaves by %s from %s" % left())
    except OSError as e:
        print(f"{name}: {os.strerror(e.errno)}")
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
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'bound to v2, then IP_MULTICAST_IF v0: Invalid argument
IP_MULTICAST_IF v0, then bound to v2: leaves by v2 from 192.0.2.20'
echo "as described"
