#!/usr/bin/env bash
# Go 1.26, package net, on Linux; iproute2
#
# Expected: a zone names an interface, and each dial to [fe80::1%v2] asks for the index
# that v2 has now. After a modem was unplugged and plugged in again under its name, a new
# dial reaches its router as before.
#
# Seen: net keeps names and indexes for a minute and asks sooner only about a name that it
# does not have. Until then each dial to the zone uses the index of the device that is
# gone and fails, with an error that speaks of something else, while InterfaceByName has
# the new one. A dial to an unknown zone, such as the new index as a number, has them read
# again. For a name that nothing has, the zone is left out without a word.
#   before: by name connected
#   plugged in again: by name network is unreachable, InterfaceByName new index
#   by number connected, and by name after that connected
#   [::1%nothing]: connected
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func dial(zone string) string {
	c, err := net.Dial("udp6", "[fe80::9%"+zone+"]:9")
	if err == nil {
		c.Close()
		return "connected"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func plug() int {
	if out, err := exec.Command("sh", "-c", "ip link add v2 type veth peer name v3 && ip link set v2 addrgenmode none && ip link set v2 up && ip link set v3 up && ip -6 addr add fe80::20/64 dev v2 nodad && until ip -6 route get fe80::9 oif v2 >/dev/null 2>&1; do :; done").CombinedOutput(); err != nil {
		fmt.Println(string(out), err)
		os.Exit(1)
	}
	i, err := net.InterfaceByName("v2")
	if err != nil {
		panic(err)
	}
	return i.Index
}

func main() {
	first := plug()
	fmt.Println("before: by name", dial("v2"))
	if err := exec.Command("ip", "link", "del", "v2").Run(); err != nil {
		panic(err)
	}
	second := plug()
	what := "new index"
	if first == second {
		what = "the same index"
	}
	fmt.Printf("plugged in again: by name %s, InterfaceByName %s\n", dial("v2"), what)
	fmt.Printf("by number %s, and by name after that %s\n", dial(strconv.Itoa(second)), dial("v2"))
	c, err := net.Dial("udp6", "[::1%nothing]:9")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println("[::1%nothing]: connected")
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
./try
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'before: by name connected
plugged in again: by name network is unreachable, InterfaceByName new index
by number connected, and by name after that connected
[::1%nothing]: connected'
echo "as described"
