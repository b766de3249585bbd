#!/usr/bin/env bash
# Linux (seen with 6.18), python3. No packages.
#
# Expected: TCP_INFO of a socket whose connect(2) was refused says the same whether
# the socket blocks or not: the segments sent and received are those of the attempt, and
# the local port that it took is still to be seen, or is not.
#
# Seen: where the socket blocks, connect(2) wipes the counters before it returns, as if
# nothing had been sent or had come back; the local port stays. Where it does not block,
# the counters stay too. So somebody who looks at a copy of the socket cannot tell "refused"
# from "never answered" after a blocking connect(2), and can after another one.
#   blocking: ECONNREFUSED, state 7, segments out 0, in 0, port kept
#   not blocking: ECONNREFUSED, state 7, segments out 1, in 1, port kept
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import errno, select, socket, struct
busy = socket.socket()
busy.bind(("127.0.0.1", 0))  # and does not listen
for blocking in (True, False):
    s = socket.socket()
    s.setblocking(blocking)
    e = s.connect_ex(busy.getsockname())
    if not blocking:
        assert e in (errno.EINPROGRESS, errno.ECONNREFUSED), e
        if e == errno.EINPROGRESS:
            select.select([], [s], [])
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    port = s.getsockname()[1]
    if e == errno.EINPROGRESS:
        e = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    # struct tcp_info of linux/tcp.h: tcpi_segs_out and tcpi_segs_in are at 136 and 140.
    out, into = struct.unpack_from("=II", info, 136)
    print("%s: %s, state %d, segments out %d, in %d, port %s" % (
        "blocking" if blocking else "not blocking", errno.errorcode[e], info[0], out, into, "kept" if port else "gone"))
PY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash -c 'ip link set lo up && python3 try.py')
else
	got=$(unshare --user --map-root-user --net bash -c 'ip link set lo up && python3 try.py')
fi
echo "$got"
test "$got" = 'blocking: ECONNREFUSED, state 7, segments out 0, in 0, port kept
not blocking: ECONNREFUSED, state 7, segments out 1, in 1, port kept'
echo "as described"
