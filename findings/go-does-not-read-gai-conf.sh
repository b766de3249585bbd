#!/usr/bin/env bash
# Go 1.26, package net; glibc 2.36 (Debian 12), getent
#
# Expected: /etc/gai.conf says for a host which addresses of a name are tried first. A
# line "precedence ::ffff:0:0/96 100" makes programs prefer IPv4, Go's like others', as
# Go reads hosts, nsswitch.conf and resolv.conf.
#
# Seen: glibc obeys. Go's own resolver (the one without cgo) has a table of its own and
# does not open the file: LookupIPAddr, and with it every dial, has IPv6 first, whatever
# is configured. LookupHost does not sort what stands in /etc/hosts at all.
#   gai.conf empty: glibc 2001:db8::9, LookupIPAddr 2001:db8::9, LookupHost 192.0.2.9
#   gai.conf prefers IPv4: glibc 192.0.2.9, LookupIPAddr 2001:db8::9, LookupHost 192.0.2.9
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(getent --version) in
*"2.36"*) ;;
*) echo "needs glibc 2.36 (Debian 12), this is $(getent --version | head -n 1)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
)

func main() {
	sorted, err := net.DefaultResolver.LookupIPAddr(context.Background(), "two.test")
	if err != nil {
		panic(err)
	}
	plain, err := net.LookupHost("two.test")
	if err != nil {
		panic(err)
	}
	fmt.Printf("LookupIPAddr %v, LookupHost %s\n", sorted[0].IP, plain[0])
}
GO
CGO_ENABLED=0 go build -o try .
printf '192.0.2.9 two.test\n2001:db8::9 two.test\n' > hosts
printf 'hosts: files\n' > nsswitch.conf
: > empty
echo 'precedence ::ffff:0:0/96 100' > ipv4
cat > host <<'HOST'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip -6 addr add 2001:db8::20/64 dev v0 nodad
mount --bind hosts /etc/hosts
mount --bind nsswitch.conf /etc/nsswitch.conf
test -e /etc/gai.conf || { echo "needs /etc/gai.conf to lay another one over it" >&2; exit 1; }
for f in empty ipv4; do
	mount --bind "$f" /etc/gai.conf
	first=$(getent ahosts two.test | { read -r a _; echo "$a"; })
	case $f in empty) name=empty ;; *) name="prefers IPv4" ;; esac
	echo "gai.conf $name: glibc $first, $(./try)"
	umount /etc/gai.conf
done
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net --mount bash host)
else
	got=$(unshare --user --map-root-user --net --mount bash host)
fi
echo "$got"
test "$got" = 'gai.conf empty: glibc 2001:db8::9, LookupIPAddr 2001:db8::9, LookupHost 192.0.2.9
gai.conf prefers IPv4: glibc 192.0.2.9, LookupIPAddr 2001:db8::9, LookupHost 192.0.2.9'
echo "as described"
