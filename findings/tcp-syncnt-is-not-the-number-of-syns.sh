#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: TCP_SYNCNT is the number of times that a SYN is sent again before connect(2)
# gives up (tcp(7)): with 1 there are two SYNs, with 2 there are three, a second and then two
# seconds apart. TCP_USER_TIMEOUT of half a second ends an attempt after half a second.
#
# Seen: the number stands for the time only, that in which so many SYNs would be sent again
# at intervals that double: 3 s and 7 s. Meanwhile SYNs are sent each second, as
# net.ipv4.tcp_syn_linear_timeouts is 4 since Linux 6.5: three and six of them. A limit by
# TCP_USER_TIMEOUT acts when the first SYN is due again, after a second, and sends it.
#   TCP_SYNCNT 1: ETIMEDOUT after 3 s, 3 SYNs
#   TCP_SYNCNT 2: ETIMEDOUT after 7 s, 6 SYNs
#   TCP_USER_TIMEOUT 500: ETIMEDOUT after 1 s, 2 SYNs
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import errno, socket, time
TCP_USER_TIMEOUT = 18
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) # ETH_P_IP
wire.bind(("v1", 0))
wire.setblocking(False)

def syns(port):
    n = 0
    while True:
        try:
            b = wire.recv(2000)
        except BlockingIOError:
            return n
        if b[23] == socket.IPPROTO_TCP and b[34:36] == port.to_bytes(2, "big") and b[47] & 0x12 == 0x02:
            n += 1

for name, option, value in (("TCP_SYNCNT", socket.TCP_SYNCNT, 1), ("TCP_SYNCNT", socket.TCP_SYNCNT, 2), ("TCP_USER_TIMEOUT", TCP_USER_TIMEOUT, 500)):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, option, value)
    s.bind(("192.0.2.20", 0))
    begun = time.monotonic()
    e = s.connect_ex(("192.0.2.1", 80))
    took = time.monotonic() - begun
    print(f"{name} {value}: {errno.errorcode[e]} after {took:.0f} s, {syns(s.getsockname()[1])} SYNs")
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev v0 # and nobody answers
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'TCP_SYNCNT 1: ETIMEDOUT after 3 s, 3 SYNs
TCP_SYNCNT 2: ETIMEDOUT after 7 s, 6 SYNs
TCP_USER_TIMEOUT 500: ETIMEDOUT after 1 s, 2 SYNs'
echo "as described"
