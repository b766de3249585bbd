#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: a socket that was bound to an address and port 0 has the port that the kernel
# chose for it until it is closed, as getsockname(2) tells it. Connecting it and ending that
# by connecting it to AF_UNSPEC takes the peer away, and what connect(2) itself has chosen.
# Those who were told the port before go on reaching the socket.
#
# Seen: the port goes with the peer. A UDP socket has port 0 then: what is sent to its old
# port is refused, and another socket may take the port. A TCP socket still tells the old
# port, has given it up all the same, and connects from another one next. A port that was
# named to bind(2) stays.
#   udp, port 0: after disconnect 0, another may take the port
#   udp, port named: after disconnect the same, another may not
#   tcp, port 0: after disconnect the same, another may take the port
#   tcp, port named: after disconnect the same, another may not
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)

def free_port(typ):
    with socket.socket(socket.AF_INET, typ) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

listener = socket.create_server(("127.0.0.1", 0))
for name, typ in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
    for way in ("port 0", "port named"):
        s = socket.socket(socket.AF_INET, typ)
        s.bind(("127.0.0.1", free_port(typ) if way == "port named" else 0))
        port = s.getsockname()[1]
        s.connect(listener.getsockname())
        assert s.getsockname()[1] == port
        if libc.connect(s.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16) != 0:
            raise OSError(ctypes.get_errno())
        after = s.getsockname()[1]
        other = socket.socket(socket.AF_INET, typ)
        try:
            other.bind(("127.0.0.1", port))
            taken = "another may take the port"
        except OSError:
            taken = "another may not"
        print(f"{name}, {way}: after disconnect {'the same' if after == port else after}, {taken}")
PY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash -c 'ip link set lo up && python3 try.py')
else
	got=$(unshare --user --map-root-user --net bash -c 'ip link set lo up && python3 try.py')
fi
echo "$got"
test "$got" = 'udp, port 0: after disconnect 0, another may take the port
udp, port named: after disconnect the same, another may not
tcp, port 0: after disconnect the same, another may take the port
tcp, port named: after disconnect the same, another may not'
echo "as described"
