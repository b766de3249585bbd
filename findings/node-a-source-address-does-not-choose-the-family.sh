#!/usr/bin/env bash
# Node.js 20.20.2 (nodejs 20.20.2 of NodeSource), python3 3.11, Go 1.26, Linux
#
# Expected: a program that names an IPv4 source address and connects to a name with both
# families gets the IPv4 address of it, as only that one can work.
#
# Seen: asyncio, http.client and Go's net.Dialer do so, each in its own way. Node connects
# to the first address of the name, whatever its family, and ends with bind's EINVAL; its
# race of families (autoSelectFamily) does not take place with a localAddress. So whoever
# gives a Node program a source address must also say {family: 4}.
#   asyncio: connected from 127.0.0.2
#   http.client: connected from 127.0.0.2
#   Go: connected from 127.0.0.2
#   node: bind EINVAL
#   node, autoSelectFamily: bind EINVAL
#   node, family 4: connected from 127.0.0.2
set -euo pipefail
dir=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
server=
case $(node --version) in
v20.*) ;;
*) echo "needs Node.js 20, this is $(node --version)" >&2; exit 1 ;;
esac
cd "$dir"
cat > serve.py <<'PY'
import socket
six = socket.create_server(("::1", 0), family=socket.AF_INET6)
four = socket.create_server(("127.0.0.1", six.getsockname()[1]))
print(six.getsockname()[1], flush=True)
held = []
while True:
    held.append(four.accept())
PY
mkfifo port
python3 serve.py > port &
server=$!
read -r port < port
cat > try.py <<'PY'
import asyncio, http.client, socket, sys
port = int(sys.argv[1])
found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
system = socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: found if host == "two.test" else system(host, *a, **k)

async def main():
    _, w = await asyncio.open_connection("two.test", port, local_addr=("127.0.0.2", 0))
    print("asyncio: connected from", w.get_extra_info("sockname")[0])

asyncio.run(main())
c = http.client.HTTPConnection("two.test", port, source_address=("127.0.0.2", 0))
c.connect()
print("http.client: connected from", c.sock.getsockname()[0])
PY
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)},
		Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go serve(far)
			return near, nil
		}},
	}
	c, err := d.Dial("tcp", "two.test.:"+os.Args[1])
	if err != nil {
		fmt.Println("Go:", err)
		return
	}
	fmt.Println("Go: connected from", c.LocalAddr().(*net.TCPAddr).IP)
}

// serve answers questions over a stream, where each message follows its length.
func serve(c net.Conn) {
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[2:n]) != nil {
			return
		}
		h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}
		m.Response, m.Additionals = true, nil
		switch m.Questions[0].Type {
		case dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		case dnsmessage.TypeAAAA:
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}}}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
			return
		}
	}
}
GO
cat > try.js <<'JS'
const net = require('net');
const port = Number(process.argv[2]);
const both = [{address: '::1', family: 6}, {address: '127.0.0.1', family: 4}];
const lookup = (host, options, done) => {
  const list = both.filter((a) => !options.family || a.family === options.family);
  setImmediate(() => options.all ? done(null, list) : done(null, list[0].address, list[0].family));
};
const attempt = (name, more) => new Promise((next) => {
  const s = net.connect({host: 'two.test', port, localAddress: '127.0.0.2', lookup, ...more});
  s.on('connect', () => { console.log(`${name}: connected from ${s.localAddress}`); s.destroy(); next(); });
  s.on('error', (e) => { console.log(`${name}: ${e.syscall} ${e.code}`); next(); });
});
(async () => {
  await attempt('node', {});
  await attempt('node, autoSelectFamily', {autoSelectFamily: true});
  await attempt('node, family 4', {family: 4});
})();
JS
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 >/dev/null 2>&1
got=$(python3 try.py "$port"; go run . "$port"; node try.js "$port")
echo "$got"
test "$got" = "asyncio: connected from 127.0.0.2
http.client: connected from 127.0.0.2
Go: connected from 127.0.0.2
node: bind EINVAL
node, autoSelectFamily: bind EINVAL
node, family 4: connected from 127.0.0.2"
echo "as described"
