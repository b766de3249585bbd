#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: when an interface loses an address (another lease, another prefix), a UDP
# socket that was connected from it fails to send, in both families alike, so that the
# program learns that it has to connect anew.
#
# Seen: IPv4 fails with ENETUNREACH although the route is there. IPv6 goes on sending from
# the address that this host does not have any more; no error is ever told, and the
# answers go to nobody.
#   ipv4: connected from 198.51.100.20, address removed, send: Network is unreachable
#   ipv6: connected from 2001:db8:1::20, address removed, send: sent, on the wire from 2001:db8:1::20
#   new sockets: from 198.51.100.21 and 2001:db8:1::21
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import os, socket, subprocess
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
wire.bind(("v3", 3))
wire.settimeout(20)
for name, family, old, new, far in (("ipv4", socket.AF_INET, "198.51.100.20/24", "198.51.100.21/24", "203.0.113.1"), ("ipv6", socket.AF_INET6, "2001:db8:1::20/64", "2001:db8:1::21/64", "2001:db8:9::1")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.connect((far, 9))
    first = s.getsockname()[0]
    subprocess.check_call(["ip", "addr", "add", new, "dev", "v2"] + ["nodad"] * (name == "ipv6"))
    subprocess.check_call(["ip", "addr", "del", old, "dev", "v2"])
    try:
        s.send(b"hello")
        said = "sent"
        while True:
            p = wire.recv(2048)
            if family == socket.AF_INET6 and p[0] >> 4 == 6 and p[6] == socket.IPPROTO_UDP:
                said += ", on the wire from " + socket.inet_ntop(family, p[8:24])
                break
    except OSError as e:
        said = os.strerror(e.errno)
    print(f"{name}: connected from {first}, address removed, send: {said}")
sources = []
for family, far in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8:9::1")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.connect((far, 9))
    sources.append(s.getsockname()[0])
print("new sockets: from", " and ".join(sources))
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
echo 1 > /proc/sys/net/ipv4/conf/v2/promote_secondaries
ip neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev v2
ip -6 neigh add 2001:db8:1::9 lladdr 02:00:00:00:00:09 dev v2
ip route add 203.0.113.0/24 via 198.51.100.9
ip -6 route add 2001:db8:9::/48 via 2001:db8:1::9
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ipv4: connected from 198.51.100.20, address removed, send: Network is unreachable
ipv6: connected from 2001:db8:1::20, address removed, send: sent, on the wire from 2001:db8:1::20
new sockets: from 198.51.100.21 and 2001:db8:1::21'
echo "as described"
