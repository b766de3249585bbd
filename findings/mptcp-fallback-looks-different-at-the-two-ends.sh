#!/usr/bin/env bash
# Linux with MPTCP (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: SO_PROTOCOL tells at either end whether a connection is MPTCP or has fallen
# back to TCP, and "ss -M" lists those that are.
#
# Seen: a listener gives a plain TCP socket for a peer without MPTCP. The client that has
# fallen back says MPTCP (262) for ever and stays in the list of MPTCP sockets; only
# MPTCP_INFO, which fails then, tells. Before connect that one succeeds.
#   not connected: client 262, MPTCP_INFO given
#   client and server with MPTCP: client 262, MPTCP_INFO given, server 262; ss -M lists client and server
#   client without: client 6, MPTCP_INFO Operation not supported, server 6; ss -M lists neither
#   server without: client 262, MPTCP_INFO Operation not supported, server 6; ss -M lists client
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import os, socket, subprocess
TCP, MPTCP, SOL_MPTCP, MPTCP_INFO = 6, 262, 284, 1

def protocol(s): return s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
def info(s):
    try:
        s.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)
        return "given"
    except OSError as e:
        return os.strerror(e.errno)

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
print(f"not connected: client {protocol(s)}, MPTCP_INFO {info(s)}")
for name, client, server in (("client and server with MPTCP", MPTCP, MPTCP), ("client without", TCP, MPTCP), ("server without", MPTCP, TCP)):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, server)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    c = socket.socket(socket.AF_INET, socket.SOCK_STREAM, client)
    c.connect(listener.getsockname())
    s, _ = listener.accept()
    rows = [line.split()[2] for line in subprocess.check_output(["ss", "-MnH", "state", "established"], text=True).splitlines()]
    listed = [n for n, e in (("client", c), ("server", s)) if "%s:%d" % e.getsockname() in rows]
    print(f"{name}: client {protocol(c)}, MPTCP_INFO {info(c)}, server {protocol(s)}; ss -M lists {' and '.join(listed) or 'neither'}")
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link set lo up
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'not connected: client 262, MPTCP_INFO given
client and server with MPTCP: client 262, MPTCP_INFO given, server 262; ss -M lists client and server
client without: client 6, MPTCP_INFO Operation not supported, server 6; ss -M lists neither
server without: client 262, MPTCP_INFO Operation not supported, server 6; ss -M lists client'
echo "as described"
