#!/usr/bin/env bash
# curl 7.88.1, wget 1.21.3, OpenSSH 9.2, netcat-openbsd 1.219, python3 3.11, Java 17
# (Debian 12), Node.js 20, Go 1.26
#
# Expected: a time-out of connecting says when a program gives up, whatever addresses a name
# has.
#
# Seen: with three silent addresses and 2 s, curl, Go, Java and Node give up after 2 s. wget,
# ssh, nc and Python try one address after the other and take the time-out for each: 6 s. So
# the more addresses a name has, the longer half of the programs hang on a network that is
# silent.
#   curl --connect-timeout 2: 2 s
#   wget --connect-timeout=2 --tries=1: 6 s
#   ssh -o ConnectTimeout=2: 6 s
#   nc -w 2: 6 s
#   python3, socket.create_connection: 6 s
#   python3, urllib.request: 6 s
#   Java, setConnectTimeout: 2 s
#   Go, net.Dialer: 2 s
#   Node, net.connect: 2 s
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for p in curl wget openssh-client netcat-openbsd iproute2 openjdk-17-jdk-headless; do
	dpkg -s "$p" >/dev/null 2>&1 || { echo "needs the Debian package $p" >&2; exit 1; }
done
case $(node --version) in
v20.*) ;;
*) echo "needs Node.js 20, this is $(node --version)" >&2; exit 1 ;;
esac
cd "$dir"
# Each program prints how long it took, without its own start where that takes long.
cat > Try.java <<'JAVA'
import java.net.*;

class Try {
	public static void main(String[] args) throws Exception {
		URLConnection c = new URL("http://three.test/").openConnection();
		c.setConnectTimeout(2000);
		long begun = System.nanoTime();
		try {
			c.connect();
		} catch (SocketTimeoutException e) {
			System.out.println(Math.round((System.nanoTime() - begun) / 1e9));
		}
	}
}
JAVA
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"
	"time"
)

func main() {
	begun := time.Now()
	d := net.Dialer{Timeout: 2 * time.Second}
	if _, err := d.Dial("tcp", "three.test:80"); err != nil {
		fmt.Printf("%.0f\n", time.Since(begun).Seconds())
	}
}
GO
cat > create.py <<'PY'
import socket, time
begun = time.monotonic()
try:
    socket.create_connection(("three.test", 80), 2)
except TimeoutError:
    print(round(time.monotonic() - begun))
PY
cat > request.py <<'PY'
import time, urllib.error, urllib.request
begun = time.monotonic()
try:
    urllib.request.urlopen("http://three.test/", timeout=2)
except urllib.error.URLError:
    print(round(time.monotonic() - begun))
PY
cat > try.js <<'JS'
const begun = Date.now();
const over = () => { console.log(Math.round((Date.now() - begun) / 1000)); process.exit(); };
require('net').connect({host: 'three.test', port: 80, timeout: 2000}).on('timeout', over).on('error', over);
JS
go mod init finding >/dev/null 2>&1
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
printf '192.0.2.%d three.test\n' 1 2 3 > hosts
mount --bind hosts /etc/hosts
ip link set lo up
ip link add v0 type veth peer name v1 # v1 takes everything and answers nothing
ip link set v0 arp off up
ip link set v1 arp off up
ip addr add 10.0.0.1/24 dev v0
ip route add 192.0.2.0/24 dev v0
took() {
	begun=$(date +%s%N)
	"$@" >/dev/null 2>&1 </dev/null && return 1
	echo $((($(date +%s%N) - begun + 500000000) / 1000000000))
}
echo "curl --connect-timeout 2: $(took curl --connect-timeout 2 http://three.test/) s"
echo "wget --connect-timeout=2 --tries=1: $(took wget --connect-timeout=2 --tries=1 http://three.test/) s"
echo "ssh -o ConnectTimeout=2: $(took ssh -o ConnectTimeout=2 three.test) s"
echo "nc -w 2: $(took nc -w 2 three.test 80) s"
echo "python3, socket.create_connection: $(python3 create.py) s"
echo "python3, urllib.request: $(python3 request.py) s"
echo "Java, setConnectTimeout: $(java Try.java) s"
echo "Go, net.Dialer: $(./try) s"
echo "Node, net.connect: $(node try.js) s"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net --mount bash setup)
else
	got=$(unshare --user --map-root-user --net --mount bash setup)
fi
echo "$got"
test "$got" = 'curl --connect-timeout 2: 2 s
wget --connect-timeout=2 --tries=1: 6 s
ssh -o ConnectTimeout=2: 6 s
nc -w 2: 6 s
python3, socket.create_connection: 6 s
python3, urllib.request: 6 s
Java, setConnectTimeout: 2 s
Go, net.Dialer: 2 s
Node, net.connect: 2 s'
echo "as described"
