#!/usr/bin/env bash
# Linux 6.18 (the option is there since 6.3), Python 3
#
# Expected: IP_LOCAL_PORT_RANGE says from which ports connect(2) chooses for this socket,
# as net.ipv4.ip_local_port_range does for the host; where that cannot be, there is an error.
#
# Seen: each bound of the socket counts only if it lies within the host's range, and is
# ignored without an error otherwise, though getsockopt(2) still shows it. A range below
# the host's means the host's whole range, and one across its lower end begins there. The
# bounds are counted one by one, so a range around the host's means the host's as well.
#   20000-20010, host 32768-60999: shown 20000-20010, ports within the range: 0 of 50
#   32700-32780, host 32768-60999: shown 32700-32780, ports from 32768 to 32780: 13 of 13, then EADDRNOTAVAIL
#   20000-65000, host 32768-60999: shown 20000-65000, ports outside the host's range: 0 of 50
# So ports that a firewall or NAT keeps for one service must lie within the host's range,
# from where every other program takes them, unless they are listed in
# net.ipv4.ip_local_reserved_ports, which such a socket cannot use either.
#   40000-40003, these ports reserved: EADDRNOTAVAIL
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import errno, socket, struct
IP_LOCAL_PORT_RANGE = 51
server = socket.create_server(("127.0.0.1", 1024), backlog=1000)
held = []

def connect(low, high):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", high << 16 | low))
    held.append(s)
    try:
        s.connect(server.getsockname())
    except OSError as e:
        return errno.errorcode[e.errno], s
    held.append(server.accept()[0])
    return s.getsockname()[1], s

def shown(s):
    both = struct.unpack("=I", s.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, 4))[0]
    return f"{both & 0xffff}-{both >> 16}"

ports = [connect(20000, 20010) for _ in range(50)]
print("below: shown", shown(ports[0][1]) + ",", "within the range:", sum(20000 <= p <= 20010 for p, _ in ports))
ports = [connect(32700, 32780) for _ in range(14)]
print("across: shown", shown(ports[0][1]) + ",", "from 32768 to 32780:", len({p for p, _ in ports[:13] if 32768 <= p <= 32780}), "then", ports[13][0])
ports = [connect(20000, 65000) for _ in range(50)]
print("around: shown", shown(ports[0][1]) + ",", "outside the host's:", sum(not 32768 <= p <= 60999 for p, _ in ports))
with open("/proc/sys/net/ipv4/ip_local_reserved_ports", "w") as f:
    f.write("40000-40003")
print("reserved:", connect(40000, 40003)[0])
PY
cat > "$dir/try" <<'TRY'
ip link set lo up
echo "32768 60999" > /proc/sys/net/ipv4/ip_local_port_range
python3 "$1/try.py"
TRY
got=$(unshare --user --map-root-user --net bash "$dir/try" "$dir")
echo "$got"
test "$got" = "below: shown 20000-20010, within the range: 0
across: shown 32700-32780, from 32768 to 32780: 13 then EADDRNOTAVAIL
around: shown 20000-65000, outside the host's: 0
reserved: EADDRNOTAVAIL"
echo "as described"
