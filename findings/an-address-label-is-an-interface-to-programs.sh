#!/usr/bin/env bash
# python3-psutil 5.9.4, net-tools 2.10, curl 7.88.1, Java 17 (Debian 12), Go 1.26, Linux
#
# Expected: the label of an IPv4 address (ip address add … label v0lan) is a remark, and the
# address is one of interface v0. It is old that labels look like eth0:1.
#
# Seen: getifaddrs(3) gives the label as the name of the interface, whether it has a colon
# or not. So psutil has an interface that the kernel does not know. Java makes one up: its
# index is -1, its prefix length 0, and v0 does not have the address. ifconfig shows the
# address nowhere. curl binds to it by that name. Go, which reads netlink, has it on v0.
#   psutil: v0lan has 10.0.1.1, index: no interface with this name
#   java: v0lan has index -1 and [/10.0.1.1/0 [null]]
#   java: 10.0.1.1 belongs to v0lan, v0 has 1 address
#   ifconfig: 10.0.0.1
#   curl --interface v0lan: from 10.0.1.1
#   Go: v0 has [10.0.0.1/24 10.0.1.1/24] <nil>
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for p in python3-psutil net-tools curl iproute2 openjdk-17-jdk-headless; do
	dpkg -s "$p" >/dev/null 2>&1 || { echo "needs the Debian package $p" >&2; exit 1; }
done
cd "$dir"
cat > try.py <<'PY'
import psutil, socket
for name, addresses in psutil.net_if_addrs().items():
    try:
        socket.if_nametoindex(name)
    except OSError as e:
        print(f"psutil: {name} has {addresses[0].address}, index: {e}")
PY
cat > Try.java <<'JAVA'
import java.net.*;

class Try {
	public static void main(String[] args) throws Exception {
		NetworkInterface n = NetworkInterface.getByInetAddress(InetAddress.getByName("10.0.1.1"));
		System.out.println("java: " + n.getName() + " has index " + n.getIndex() + " and " + n.getInterfaceAddresses());
		long own = NetworkInterface.getByName("v0").inetAddresses().count();
		System.out.println("java: 10.0.1.1 belongs to " + n.getName() + ", v0 has " + own + " address");
	}
}
JAVA
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"
)

func main() {
	v0, err := net.InterfaceByName("v0")
	if err != nil {
		panic(err)
	}
	list, err := v0.Addrs()
	fmt.Println("Go: v0 has", list, err)
}
GO
cat > serve.py <<'PY'
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from " + self.client_address[0].encode())
    def log_message(self, *a): pass
s = http.server.HTTPServer(("10.0.0.1", 8080), Answer)
print("ready", flush=True)
s.serve_forever()
PY
go mod init finding >/dev/null 2>&1
CGO_ENABLED=0 go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 addrgenmode none
ip link set v1 addrgenmode none
ip link set v0 up
ip link set v1 up
ip addr add 10.0.0.1/24 dev v0
ip addr add 10.0.1.1/24 dev v0 label v0lan
/usr/bin/python3 try.py
java Try.java
echo "ifconfig: $(ifconfig -a 2>/dev/null | awk '$1 == "inet" && $2 != "127.0.0.1" { print $2 }' | xargs)"
mkfifo ready
/usr/bin/python3 serve.py > ready &
read -r _ < ready
echo "curl --interface v0lan: $(curl -s --interface v0lan http://10.0.0.1:8080/)"
kill %1
./try
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'psutil: v0lan has 10.0.1.1, index: no interface with this name
java: v0lan has index -1 and [/10.0.1.1/0 [null]]
java: 10.0.1.1 belongs to v0lan, v0 has 1 address
ifconfig: 10.0.0.1
curl --interface v0lan: from 10.0.1.1
Go: v0 has [10.0.0.1/24 10.0.1.1/24] <nil>'
echo "as described"
