#!/usr/bin/env bash
# curl 7.88.1, wget 1.21.3, aria2 1.36.0, apt 2.6 (Debian 12)
#
# Expected: curl --retry tries again after a connection was reset half-way, and with -C - it
# goes on where it was, as others do without being asked.
#
# Seen: --retry does not count a reset as worth a retry: curl ends with 56 and half a file.
# With --retry-all-errors it begins again at the first byte, even with -C -, which looks at
# the file only once, before the first try. wget, aria2 and apt ask for the rest, by
# themselves. So a host that ends connections on a dead network helps these three, and in curl's
# case costs what has come already.
#   curl --retry 3: exit 56, 40000 bytes, asked from 0
#   curl --retry 3 --retry-all-errors: exit 0, 102400 bytes, asked from 0 0
#   curl --retry 3 --retry-all-errors -C -: exit 0, 102400 bytes, asked from 0 0
#   wget: exit 0, 102400 bytes, asked from 0 40000
#   aria2c: exit 0, 102400 bytes, asked from 0 40000
#   apt-helper: exit 0, 102400 bytes, asked from 0 40000
set -euo pipefail
dir=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
server=
for p in curl wget aria2 apt; do
	dpkg -s "$p" >/dev/null 2>&1 || { echo "needs the Debian package $p" >&2; exit 1; }
done
cd "$dir"
cat > serve.py <<'PY'
# Serves a file of 102400 bytes, also parts of it. The first answer ends with a reset, when
# the client has got 40000 bytes.
import array, fcntl, re, socket, struct, termios, threading

data = bytes(range(256)) * 400
head = """HTTP/1.1 {}\r
Accept-Ranges: bytes\r
ETag: "a"\r
Content-Type: application/octet-stream\r
Connection: close\r
{}Content-Length: {}\r
\r
"""
asked = []

def unacknowledged(c):
    n = array.array("i", [0])
    fcntl.ioctl(c, termios.TIOCOUTQ, n)
    return n[0]

def serve(c):
    request = b""
    while b"\r\n\r\n" not in request:
        more = c.recv(4096)
        if not more:
            return
        request += more
    if request.startswith(b"GET /asked"):
        text = " ".join(asked).encode()
        asked.clear()
        c.sendall(head.format("200 OK", "", len(text)).encode() + text)
        c.close()
        return
    part = re.search(rb"(?im)^range: bytes=(\d+)-", request)
    first = int(part[1]) if part else 0
    asked.append(str(first))
    status, more = "200 OK", ""
    if part:
        status, more = "206 Partial Content", f"Content-Range: bytes {first}-{len(data) - 1}/{len(data)}\r\n"
    c.sendall(head.format(status, more, len(data) - first).encode())
    if len(asked) > 1:
        c.sendall(data[first:])
        c.close()
        return
    c.sendall(data[:40000])
    while unacknowledged(c):
        pass
    # The client has to read before the reset, or its kernel drops what has come.
    while not read_by_client(c):
        pass
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()

def read_by_client(c):
    """Tells whether the receive queue of the other end is empty (/proc/net/tcp)."""
    port = c.getpeername()[1]
    for line in open("/proc/net/tcp").readlines()[1:]:
        f = line.split()
        if f[1].endswith(f":{port:04X}"):
            return f[4].endswith(":00000000")
    return True

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PY
mkfifo port
python3 serve.py > port &
server=$!
read -r port < port
url=http://127.0.0.1:$port
fetch() {
	name=$1
	shift
	rm -f got
	code=0
	"$@" >/dev/null 2>&1 || code=$?
	echo "$name: exit $code, $(stat -c %s got) bytes, asked from $(curl -s "$url/asked")"
}
got=$(
	fetch "curl --retry 3" curl -s --retry 3 -o got "$url/file"
	fetch "curl --retry 3 --retry-all-errors" curl -s --retry 3 --retry-all-errors --retry-delay 1 -o got "$url/file"
	fetch "curl --retry 3 --retry-all-errors -C -" curl -s --retry 3 --retry-all-errors --retry-delay 1 -C - -o got "$url/file"
	fetch wget wget -q -O got "$url/file"
	fetch aria2c aria2c -q -o got "$url/file"
	fetch apt-helper /usr/lib/apt/apt-helper download-file "$url/file" got
)
echo "$got"
test "$got" = "curl --retry 3: exit 56, 40000 bytes, asked from 0
curl --retry 3 --retry-all-errors: exit 0, 102400 bytes, asked from 0 0
curl --retry 3 --retry-all-errors -C -: exit 0, 102400 bytes, asked from 0 0
wget: exit 0, 102400 bytes, asked from 0 40000
aria2c: exit 0, 102400 bytes, asked from 0 40000
apt-helper: exit 0, 102400 bytes, asked from 0 40000"
echo "as described"
