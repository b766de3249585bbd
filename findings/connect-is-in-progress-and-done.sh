#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: connect(2) on a non-blocking TCP socket returns EINPROGRESS because the handshake
# takes its time. So a program has to wait for the poller, and only then looks how it went.
# Where the handshake is over by the time of the return, as with a Unix socket, it returns 0.
#
# Seen: to an address of the same host (and to the other end of a veth pair) the handshake
# is over when connect returns: TCP_INFO says "established", and the listener can accept.
# It returns EINPROGRESS all the same, because the answer lies in the backlog of the locked
# socket until the value to return is settled. A second connect then returns 0, and only the
# third EISCONN. If nobody listens, the first returns EINPROGRESS on a closed socket, and
# the second ECONNREFUSED. After that the socket is as new: a third begins once more.
# So a second call of connect saves waiting for the poller: Go's net package does so by
# itself if a Control function has connected the socket before.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import errno, select, socket

STATES = {1: "established", 7: "closed"}

def name(code):
    return errno.errorcode.get(code, "0")

for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for listens in (True, False):
        server = socket.socket(family)
        server.bind((host, 0))
        if listens:
            server.listen()
        s = socket.socket(family)
        s.setblocking(False)
        first = name(s.connect_ex(server.getsockname()))
        state = STATES[s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]]
        waits = listens and bool(select.select([server], [], [], 0)[0])
        more = [name(s.connect_ex(server.getsockname())) for _ in range(2)]
        print(host, "a listener," if listens else "nobody,", first, state + ",", "to be accepted," if waits else "nothing to accept,", *more)
PY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash -c 'ip link set lo up && python3 try.py')
else
	got=$(unshare --user --map-root-user --net bash -c 'ip link set lo up && python3 try.py')
fi
echo "$got"
test "$got" = '127.0.0.1 a listener, EINPROGRESS established, to be accepted, 0 EISCONN
127.0.0.1 nobody, EINPROGRESS closed, nothing to accept, ECONNREFUSED EINPROGRESS
::1 a listener, EINPROGRESS established, to be accepted, 0 EISCONN
::1 nobody, EINPROGRESS closed, nothing to accept, ECONNREFUSED EINPROGRESS'
echo "as described"
