#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: if one thread waits in connect(2) on a TCP socket and another ends the attempt
# by connecting the socket to AF_UNSPEC, the first gets ECONNABORTED, or another error of
# connect(2), and SO_ERROR is 0 then as after any failed connect. A poller sees POLLHUP, as
# for a socket that was never connected, and no error, since it was ended on purpose.
#
# Seen: connect(2) fails with EPIPE, which its page does not list, and the socket keeps
# ECONNRESET as its SO_ERROR. A poller is told ECONNRESET, too, although nothing has come
# from the peer. shutdown(2) ends connect(2) with ECONNRESET, and leaves no SO_ERROR.
#   disconnect: connect EPIPE, then SO_ERROR ECONNRESET
#   shutdown: connect ECONNRESET, then SO_ERROR 0
#   disconnect: poll OUT ERR HUP, then SO_ERROR ECONNRESET
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import ctypes, errno, select, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
peer = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 80, socket.inet_aton("192.0.2.1"))

def connect(s, address):
    return 0 if libc.connect(s.fileno(), address, 16) == 0 else ctypes.get_errno()

def name(code):
    return errno.errorcode.get(code, "0")

def in_connect(tid): # waits until the thread waits in the kernel
    while "inet_wait_for_connect" not in wchan(tid) and "wait_woken" not in wchan(tid):
        time.sleep(0.01)

def wchan(tid):
    with open("/proc/self/task/%d/wchan" % tid) as f:
        return f.read()

def error(s):
    return name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

nobody = struct.pack("=H14x", socket.AF_UNSPEC)
for way in ("disconnect", "shutdown"):
    s = socket.socket()
    result = []
    waiter = threading.Thread(target=lambda: result.append(connect(s, peer)))
    waiter.start()
    in_connect(waiter.native_id)
    if way == "shutdown":
        s.shutdown(socket.SHUT_RDWR)
    else:
        assert connect(s, nobody) == 0
    waiter.join()
    print(f"{way}: connect {name(result[0])}, then SO_ERROR {error(s)}")
s = socket.socket()
s.setblocking(False)
assert connect(s, peer) == errno.EINPROGRESS
p = select.poll()
p.register(s, select.POLLOUT)
assert p.poll(0) == []
assert connect(s, nobody) == 0
got = p.poll(0)[0][1]
print("disconnect: poll", *(n for n in ("OUT", "ERR", "HUP") if got & getattr(select, "POLL" + n)), end="")
print(", then SO_ERROR", error(s))
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
test "$got" = 'disconnect: connect EPIPE, then SO_ERROR ECONNRESET
shutdown: connect ECONNRESET, then SO_ERROR 0
disconnect: poll OUT ERR HUP, then SO_ERROR ECONNRESET'
echo "as described"
