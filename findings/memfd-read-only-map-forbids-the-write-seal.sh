#!/usr/bin/env bash
# Linux (seen with 6.18), memfd_create, python3
#
# Expected: F_ADD_SEALS with F_SEAL_WRITE fails with EBUSY while there is a writable
# shared mapping of the memory (fcntl(2)). A mapping that is made with PROT_READ only is
# none, so that a producer may map what it has written, read-only, and then seal it.
#
# Seen: what counts is the descriptor of which the mapping was made. A read-only shared
# mapping of a descriptor that is open for writing, which that of memfd_create is, could
# be made writable by mprotect, and forbids the seal. The same mapping of the same memory,
# opened again for reading, does not.
#   mapped read-only by the descriptor of memfd_create: Device or resource busy
#   mapped read-only, privately: sealed
#   mapped read-only by a descriptor opened read-only: sealed
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try.py" <<'PY'
import fcntl, mmap, os

def seal(name, flags, reopen):
    fd = os.memfd_create("finding", os.MFD_ALLOW_SEALING)
    os.write(fd, b"hello")
    by = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY) if reopen else fd
    mapping = mmap.mmap(by, 5, flags, mmap.PROT_READ)
    try:
        fcntl.fcntl(fd, 1033, 8) # F_ADD_SEALS, F_SEAL_WRITE
        said = "sealed"
    except OSError as e:
        said = os.strerror(e.errno)
    print(f"mapped read-only{name}: {said}")

seal(" by the descriptor of memfd_create", mmap.MAP_SHARED, False)
seal(", privately", mmap.MAP_PRIVATE, False)
seal(" by a descriptor opened read-only", mmap.MAP_SHARED, True)
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
test "$got" = 'mapped read-only by the descriptor of memfd_create: Device or resource busy
mapped read-only, privately: sealed
mapped read-only by a descriptor opened read-only: sealed'
echo "as described"
