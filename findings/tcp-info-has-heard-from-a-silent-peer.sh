#!/usr/bin/env bash
# Linux 6.18, iproute2 6.1.0 (Debian 12), python3
#
# Expected: TCP_INFO of a connection that nothing has come for says so: last_data_recv,
# last_ack_recv and last_data_sent are 0 or a value that means never, or the time since
# connect(2). A round-trip time that was not measured is the same in all of its fields.
#
# Seen: the three times are those since the kernel's clock of ticks was zero, which is five
# minutes after the host was started: a peer that never answered was "heard" hours ago, later
# than many that did answer, and on another host at another time. Of what was not measured,
# rtt is 0, min_rtt 2^32-1 and rttvar a quarter of a second, and pacing_rate is 2^64-1. On an
# established connection that carried nothing the three times count from its establishment.
#   connecting: last_data_sent, last_data_recv, last_ack_recv: the host's uptime less 5 minutes
#   connecting: rtt 0, rttvar 250000, min_rtt 4294967295, pacing_rate 18446744073709551615
#   established, nothing sent: last_data_recv less than a second
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
cat > try.py <<'PY'
import socket, struct

def info(s):
    b = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    u = struct.unpack_from("24I", b, 8)  # from tcpi_rto on
    return {
        "last_data_sent": u[9], "last_data_recv": u[11], "last_ack_recv": u[12], "rtt": u[15], "rttvar": u[16],
        "pacing_rate": struct.unpack_from("Q", b, 104)[0], "min_rtt": struct.unpack_from("I", b, 148)[0],
    }

s = socket.socket()
s.setblocking(False)
try:
    s.connect(("192.0.2.1", 80))
except BlockingIOError:
    pass
i = info(s)
with open("/proc/uptime") as f:
    ticks = (float(f.read().split()[0]) - 300) * 1000
ages = ("last_data_sent", "last_data_recv", "last_ack_recv")
same = all(abs(i[name] - ticks) < 2000 for name in ages)
print("connecting:", ", ".join(ages) + ":", "the host's uptime less 5 minutes" if same else [i[name] for name in ages])
print("connecting:", ", ".join(f"{name} {i[name]}" for name in ("rtt", "rttvar", "min_rtt", "pacing_rate")))
listener = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(listener.getsockname())
print("established, nothing sent: last_data_recv", "less than a second" if info(s)["last_data_recv"] < 1000 else info(s))
PY
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1 # v1 takes everything and answers nothing
ip link set v0 arp off up
ip link set v1 arp off up
ip addr add 10.0.0.1/24 dev v0
ip route add 192.0.2.0/24 dev v0
python3 try.py
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = "connecting: last_data_sent, last_data_recv, last_ack_recv: the host's uptime less 5 minutes
connecting: rtt 0, rttvar 250000, min_rtt 4294967295, pacing_rate 18446744073709551615
established, nothing sent: last_data_recv less than a second"
echo "as described"
