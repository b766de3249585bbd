#!/usr/bin/env bash
# Chromium 156 and curl 7.88.1 (Debian 12), python3, Linux
#
# Expected: a browser uses IPv6 towards hosts that the host has a route to: a company's or a
# VPN's unique local prefix, say, beside IPv4 to the Internet.
#
# Seen: curl asks for both families and uses IPv6. Chromium asks for A only, and uses IPv4:
# it takes IPv6 for missing unless there is a route to 2001:4860:4860::8888, one address of
# a public resolver, however far the name's own addresses are. (It asks for AAAA after all
# where no A exists.) So which network a page comes over depends on a route that has nothing to do
# with it.
#   curl: six
#   Chromium: four, asked for AAAA: no
#   Chromium with the route: six, asked for AAAA: yes
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(chromium --version 2>/dev/null) in
"Chromium 156."*) ;;
*) echo "needs Chromium 156, this is $(chromium --version 2>/dev/null)" >&2; exit 1 ;;
esac
cd "$dir"
cat > serve.py <<'PY'
# A name server and two web servers. The name two.test has an address of each family.
import http.server, socket, struct, threading

class Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

def web(kind, address, text):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)
        def log_message(self, *a): pass
    threading.Thread(target=kind((address, 80), Answer).serve_forever, daemon=True).start()

web(http.server.ThreadingHTTPServer, "10.0.0.1", b"<p>it is four</p>")
web(Six, "fd00::1", b"<p>it is six</p>")
have = {1: socket.inet_aton("10.0.0.1"), 28: socket.inet_pton(socket.AF_INET6, "fd00::1")}
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("10.0.0.1", 53))
print("ready", flush=True)
while True:
    question, client = dns.recvfrom(4096)
    end = question.index(0, 12) + 5
    kind, = struct.unpack_from(">H", question, end - 4)
    answers = b""
    if question[12:].startswith(b"\3two\4test\0"):
        with open("asked", "a") as f:
            print(kind, file=f)
        if kind in have:
            answers = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(have[kind])) + have[kind]
    dns.sendto(question[:2] + struct.pack(">5H", 0x8180, 1, len(answers) > 0, 0, 0) + question[12:end] + answers, client)
PY
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 10.0.0.1/24 dev v0
ip addr add fd00::1/64 dev v0 nodad
ip route add default via 10.0.0.2
echo nameserver 10.0.0.1 > resolv.conf
mount --bind resolv.conf /etc/resolv.conf
mkfifo ready
python3 serve.py > ready &
read -r _ < ready
browse() {
	rm -f asked
	page=$(timeout 90 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/$1" --dump-dom http://two.test/ 2>/dev/null)
	aaaa=no
	! grep -qx 28 asked || aaaa=yes
	echo "$(grep -o 'it is [a-z]*' <<< "$page" | cut -c7-), asked for AAAA: $aaaa"
}
echo "curl: $(curl -s http://two.test/ | grep -o 'it is [a-z]*' | cut -c7-)"
echo "Chromium: $(browse without)"
ip -6 route add 2001:4860:4860::/48 dev v0
echo "Chromium with the route: $(browse with)"
kill %1
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net --mount bash setup)
else
	got=$(unshare --user --map-root-user --net --mount bash setup)
fi
echo "$got"
test "$got" = 'curl: six
Chromium: four, asked for AAAA: no
Chromium with the route: six, asked for AAAA: yes'
echo "as described"
