#!/usr/bin/env bash
# OpenSSH 9.2p1 (Debian 12), ssh -D; golang.org/x/net v0.62.0 (proxy), Go 1.26; root
#
# Expected: the SOCKS server of "ssh -D" answers a CONNECT that fails with the reply for
# it (RFC 1928 section 6: 05 connection refused, 04 host unreachable), as it answers one
# that succeeds; the far end's reason does reach ssh, which prints it.
#
# Seen: there is no reply at all. The connection is closed after the greeting. To a SOCKS
# client that is a proxy that broke (EOF), not a destination that refuses, so that one
# which goes on with another proxy then, or asks this one again, is misled.
#   connect to a service: connected
#   connect to a closed port: EOF, no reply; ssh says: connect failed: Connection refused
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to run an sshd with keys of its own" >&2
	exit 1
fi
case $(ssh -V 2>&1) in
OpenSSH_9.2p1*) ;;
*) echo "needs OpenSSH 9.2p1 (Debian 12), this is $(ssh -V 2>&1)" >&2; exit 1 ;;
esac
sshd=$(command -v sshd || echo /usr/sbin/sshd)
if [ ! -x "$sshd" ]; then
	echo "needs openssh-server" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/proxy"
)

func main() {
	service, err := net.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		panic(err)
	}
	defer service.Close()
	d, err := proxy.SOCKS5("tcp", "127.0.0.1:1080", nil, nil)
	if err != nil {
		panic(err)
	}
	if _, err := d.Dial("tcp", "127.0.0.1:80"); err != nil {
		panic(err)
	}
	fmt.Println("connect to a service: connected")
	_, err = d.Dial("tcp", "127.0.0.1:81")
	if !errors.Is(err, io.EOF) {
		panic(err)
	}
	fmt.Print("connect to a closed port: EOF, no reply; ")
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
for k in host user; do ssh-keygen -q -t ed25519 -N '' -f "$k"; done
cat > sshd_config <<CONFIG
Port 2222
ListenAddress 127.0.0.1
HostKey $dir/host
AuthorizedKeysFile $dir/user.pub
StrictModes no
UsePAM no
PidFile none
CONFIG
cat > host.sh <<HOST
set -euo pipefail
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/sshd
"$sshd" -D -f sshd_config -E sshd.log &
open() { : < "/dev/tcp/127.0.0.1/\$1"; }
for i in \$(seq 300); do if open 2222 2>/dev/null; then break; fi; sleep 0.1; done
ssh -F none -p 2222 -i user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -N -D 127.0.0.1:1080 root@127.0.0.1 2>ssh.log &
for i in \$(seq 300); do if open 1080 2>/dev/null; then break; fi; sleep 0.1; done
./try
for i in \$(seq 100); do if grep -q 'open failed' ssh.log; then break; fi; sleep 0.1; done
sed -n 's/^.*open failed: /ssh says: /p' ssh.log | tr -d '\r'
HOST
got=$(unshare --net --mount --pid --fork --kill-child bash host.sh)
echo "$got"
test "$got" = 'connect to a service: connected
connect to a closed port: EOF, no reply; ssh says: connect failed: Connection refused'
echo "as described"
