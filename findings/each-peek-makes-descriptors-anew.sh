#!/usr/bin/env bash
# Linux (seen with 6.18), python3
#
# Expected: MSG_PEEK on a Unix socket looks at a message and leaves it where it is. The
# file descriptors within it (SCM_RIGHTS) come into being when the message is received; a
# peek shows none, or those which the receiver gets.
#
# Seen: each peek with a control buffer installs its own duplicates, and receiving
# installs one more. A server that peeks for the length of a message first, with the same
# buffers, has one descriptor too many open with each message.
#   peek 1: one more descriptor
#   peek 2: one more descriptor
#   receive: one more descriptor
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import os, socket
a, b = socket.socketpair()
socket.send_fds(a, [b"x"], [0])

def count(): return len(os.listdir("/proc/self/fd"))

for name, flags in (("peek 1", socket.MSG_PEEK), ("peek 2", socket.MSG_PEEK), ("receive", 0)):
    before = count()
    b.recvmsg(1, 64, flags)
    print(f"{name}: {'one' if count() == before + 1 else count() - before} more descriptor")
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
test "$got" = 'peek 1: one more descriptor
peek 2: one more descriptor
receive: one more descriptor'
echo "as described"
