#!/usr/bin/env bash
# Linux, 64 bits (seen with 6.18), python3
#
# Expected: a receiver whose control buffer has CMSG_SPACE(sizeof(int)), as manuals write
# it, gets at most one file descriptor with a message. What a peer sends in addition is
# closed by the kernel, and MSG_CTRUNC says so.
#
# Seen: CMSG_SPACE rounds up to eight octets, and the kernel uses all of it: two
# descriptors arrive, and MSG_CTRUNC is not set. A receiver that takes the first one keeps
# the other one open for ever. CMSG_LEN(sizeof(int)) as the buffer's size is room for one.
#   CMSG_SPACE, two sent: got 2, MSG_CTRUNC False
#   CMSG_SPACE, three sent: got 2, MSG_CTRUNC True
#   CMSG_LEN, two sent: got 1, MSG_CTRUNC True
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import array, os, socket
a, b = socket.socketpair()
for name, room, sent in (("CMSG_SPACE, two", socket.CMSG_SPACE(4), 2), ("CMSG_SPACE, three", socket.CMSG_SPACE(4), 3), ("CMSG_LEN, two", socket.CMSG_LEN(4), 2)):
    socket.send_fds(a, [b"x"], [0] * sent)
    _, controls, flags, _ = b.recvmsg(1, room)
    got = array.array("i", controls[0][2])
    print(f"{name} sent: got {len(got)}, MSG_CTRUNC {bool(flags & socket.MSG_CTRUNC)}")
PY
cat > "$dir/try" <<'TRY'
set -euo pipefail
python3 try.py
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'CMSG_SPACE, two sent: got 2, MSG_CTRUNC False
CMSG_SPACE, three sent: got 2, MSG_CTRUNC True
CMSG_LEN, two sent: got 1, MSG_CTRUNC True'
echo "as described"
