#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), python3
#
# Expected: SO_BINDTODEVICE takes a name and binds to the device of that name, so that a
# listener on a modem's device is reached again when the modem was unplugged and plugged
# in again under the same name. When the device is given another name, it is that of a
# socket bound to the old one no more.
#
# Seen: the name is looked up once. The socket follows the device to its new name, and
# tells it. With the device its binding is gone for good: the new device of that name is
# another one, the listener stays in LISTEN and hears nothing, and there is no event and
# no error until something is sent or the device is asked for.
#   renamed: bound to w2
#   plugged in again as v2: ss says LISTEN, connect from the other end: refused
#   getsockopt SO_BINDTODEVICE: No such device, UDP send: No such device
#   bound to v2 anew: connect from the other end: connected
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try.py" <<'PY'
import os, socket, subprocess, sys
other = sys.argv[1]

def bind(s): s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v2\0")
def run(*command): subprocess.check_call(command)
def connect():
    code = ("import socket\ntry:\n socket.create_connection(('192.0.2.20', 7000), 20)\n print('connected')\n"
            "except ConnectionRefusedError: print('refused')")
    return subprocess.check_output(["nsenter", f"--net=/proc/{other}/ns/net", sys.executable, "-c", code], text=True).strip()

listener = socket.socket()
bind(listener)
listener.bind(("", 7000))
listener.listen()
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
bind(sender)
run("ip", "link", "set", "v2", "name", "w2")
print("renamed: bound to", listener.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode())
run("ip", "link", "del", "w2")
run("sh", "plug", other)
state = "LISTEN" if subprocess.check_output(["ss", "-tlnH", "sport", "=", "7000"], text=True).startswith("LISTEN") else "nothing"
print(f"plugged in again as v2: ss says {state}, connect from the other end: {connect()}")
said = []
for act in (lambda: listener.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16), lambda: sender.sendto(b"hello", ("192.0.2.9", 9))):
    try:
        act()
        said.append("fine")
    except OSError as e:
        said.append(os.strerror(e.errno))
print("getsockopt SO_BINDTODEVICE: %s, UDP send: %s" % tuple(said))
bind(listener)
print("bound to v2 anew: connect from the other end:", connect())
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
mkfifo hold
unshare --net cat hold & # the other end's network namespace, until hold is closed
other=$!
exec 4> hold
while [ "$(readlink "/proc/$other/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do :; done
cat > plug <<'PLUG'
ip link add v2 type veth peer name v3 netns "$1"
ip addr add 192.0.2.20/24 dev v2
ip link set v2 up
nsenter --net="/proc/$1/ns/net" sh -c 'ip addr add 192.0.2.9/24 dev v3 && ip link set v3 up'
PLUG
ip link set lo up
sh plug "$other"
python3 try.py "$other"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'renamed: bound to w2
plugged in again as v2: ss says LISTEN, connect from the other end: refused
getsockopt SO_BINDTODEVICE: No such device, UDP send: No such device
bound to v2 anew: connect from the other end: connected'
echo "as described"
