#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: somebody who waits with edge-triggered epoll for EPOLLIN | EPOLLOUT on a stream
# socket, as Go's runtime does for every connection, hears of EPOLLOUT once, and again only
# after a write had found the buffer full: an edge. So a process that has sent a request and
# waits for its answer wakes once, when the answer has come.
#
# Seen: for TCP that is so. On a Unix socket each read by the other end is an edge of its
# own, also where the buffer was never more than a byte full. The process wakes for nothing when its
# request is read, before there is an answer; and who answers wakes once more when the answer
# is read. Over a Unix socket an exchange between two Go programs takes four wake-ups, not
# two. Who waits for EPOLLIN only, or with EPOLLONESHOT set anew for each wait, has two.
#   unix: 100 reads by the other end, 100 events, each EPOLLOUT alone
#   tcp: 100 reads by the other end, 0 events
#   unix, for EPOLLIN only: 100 reads by the other end, 0 events
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import select, socket

def tcp():
    l = socket.socket()
    l.bind(("127.0.0.1", 0))
    l.listen()
    a = socket.create_connection(l.getsockname())
    a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return a, l.accept()[0]

def try_one(name, a, b, wanted):
    e = select.epoll()
    e.register(a, wanted | select.EPOLLET)
    e.poll(1)  # that it can be written now
    events = []
    for _ in range(100):
        a.send(b"x")
        assert not [f for _, f in e.poll(0)], "an event by the own write"
        assert b.recv(1) == b"x"
        events += [f for _, f in e.poll(0.02)]
    what = ", each EPOLLOUT alone" if events and set(events) == {select.EPOLLOUT} else ""
    print("%s: 100 reads by the other end, %d events%s" % (name, len(events), what))

try_one("unix", *socket.socketpair(), select.EPOLLIN | select.EPOLLOUT)
try_one("tcp", *tcp(), select.EPOLLIN | select.EPOLLOUT)
try_one("unix, for EPOLLIN only", *socket.socketpair(), select.EPOLLIN)
PY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash -c 'ip link set lo up && python3 try.py')
else
	got=$(unshare --user --map-root-user --net bash -c 'ip link set lo up && python3 try.py')
fi
echo "$got"
test "$got" = 'unix: 100 reads by the other end, 100 events, each EPOLLOUT alone
tcp: 100 reads by the other end, 0 events
unix, for EPOLLIN only: 100 reads by the other end, 0 events'
echo "as described"
