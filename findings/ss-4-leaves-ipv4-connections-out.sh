#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: "ss -4" lists the connections over IPv4, "ss -6" those over IPv6; a filter by
# an IPv4 address finds the same as the former.
#
# Seen: -4 and -6 select by the socket's family. A server that listens for both families
# with one socket, as Go's and most others do, has its IPv4 connections below -6, as
# ::ffff:127.0.0.1; -4 shows the client's end only, and no listener at all. The filter by
# address finds both ends.
#   ss -4, both ends of a connection: 1 of 2
#   ss -6: [::ffff:127.0.0.1]:8000
#   ss src 127.0.0.0/8: 2 of 2
#   ss -4 -l: 0 listeners
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import socket, subprocess

def ss(*how):
    return [line.split() for line in subprocess.check_output(["ss", "-tnH", *how], text=True).splitlines()]

listener = socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True)
client = socket.create_connection(("127.0.0.1", 8000))
server, _ = listener.accept()
print("ss -4, both ends of a connection:", len(ss("-4")), "of 2")
print("ss -6:", *(row[3] for row in ss("-6")))
print("ss src 127.0.0.0/8:", len(ss("src", "127.0.0.0/8")), "of 2")
print("ss -4 -l:", len(ss("-4", "-l")), "listeners")
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
test "$got" = 'ss -4, both ends of a connection: 1 of 2
ss -6: [::ffff:127.0.0.1]:8000
ss src 127.0.0.0/8: 2 of 2
ss -4 -l: 0 listeners'
echo "as described"
