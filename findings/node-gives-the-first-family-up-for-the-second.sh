#!/usr/bin/env bash
# Node.js 20.20.2 (nodejs 20.20.2 of NodeSource), python3 3.11, Linux
#
# Expected: net.connect with autoSelectFamily, which is the default and is documented as
# section 5 of RFC 8305, starts a second attempt after 250 ms and lets the first one go on.
# The first to answer wins. So a server that answers over IPv6 after some seconds is
# reached, whatever becomes of IPv4. asyncio does so with happy_eyeballs_delay.
#
# Seen: the first attempt is given up when the second one begins, and the last one has no
# limit of this kind. A family whose round trip takes longer than 250 ms is never used if it
# comes first, and if the other one is silent, net.connect waits for that until the kernel
# gives up.
#   asyncio: connected over IPv6
#   node: connectionAttempt IPv6, connectionAttemptTimeout IPv6, connectionAttempt IPv4, not connected after 8 s
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(node --version) in
v20.*) ;;
*) echo "needs Node.js 20, this is $(node --version)" >&2; exit 1 ;;
esac
cat > "$dir/try.js" <<'JS'
const net = require('net');
const lookup = (host, options, done) => setImmediate(done, null, [{address: '2001:db8::2', family: 6}, {address: '192.0.2.2', family: 4}]);
const family = (ip) => net.isIPv6(ip) ? 'IPv6' : 'IPv4';
const seen = [];
const end = (text) => { console.log('node: ' + [...seen, text].join(', ')); process.exit(); };
const s = net.connect({host: 'two.test', port: 8080, lookup});
for (const e of ['connectionAttempt', 'connectionAttemptFailed', 'connectionAttemptTimeout']) s.on(e, (ip) => seen.push(e + ' ' + family(ip)));
s.on('connect', () => end('connected over ' + family(s.remoteAddress)));
s.on('error', (e) => end(e.code));
setTimeout(() => end('not connected after 8 s'), 8000);
JS
cat > "$dir/try.py" <<'PY'
import asyncio, socket

async def main():
    async def lookup(*args, **named):
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::2", 8080, 0, 0)), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.2", 8080))]
    asyncio.get_running_loop().getaddrinfo = lookup
    _, w = await asyncio.wait_for(asyncio.open_connection("two.test", 8080, happy_eyeballs_delay=0.25), 30)
    print("asyncio: connected over", "IPv6" if ":" in w.get_extra_info("peername")[0] else "IPv4")

asyncio.run(main())
PY
cat > "$dir/serve.py" <<'PY'
import socket
s = socket.create_server(("::", 8080), family=socket.AF_INET6)
print("listening", flush=True)
while True:
    s.accept()
PY
# The server is in a namespace of its own. It gets its IPv6 address two seconds after the
# client has begun, and never an IPv4 one. Until then it is as silent as a slow network.
cat > "$dir/try" <<'TRY'
set -euo pipefail
mkfifo listening
unshare --net python3 serve.py > listening &
server=$!
trap 'kill $server' EXIT
read -r _ < listening
there() { nsenter -t $server -n "$@"; }
ip link add v0 type veth peer name v1 netns $server
ip link set v0 up
there ip link set v1 up
ip addr add 192.0.2.1/24 dev v0
ip -6 addr add 2001:db8::1/64 dev v0 nodad
mac=$(there ip -o link show v1 | sed 's/.*ether \([0-9a-f:]*\).*/\1/')
ip neigh add 192.0.2.2 lladdr "$mac" dev v0
ip neigh add 2001:db8::2 lladdr "$mac" dev v0
for client in "python3 try.py" "node try.js"; do
	(sleep 2; there ip -6 addr add 2001:db8::2/64 dev v1 nodad) &
	later=$!
	$client
	wait $later
	there ip -6 addr del 2001:db8::2/64 dev v1
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'asyncio: connected over IPv6
node: connectionAttempt IPv6, connectionAttemptTimeout IPv6, connectionAttempt IPv4, not connected after 8 s'
echo "as described"
